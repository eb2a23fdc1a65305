"""Reads vectors of items that people already have, in place of an encoder's."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.common import storage
from pipelines.common.job import JobError

COLUMNS = ('item', 'vector')


def read_given_vectors(path: str, ids: pa.ChunkedArray) -> tuple[np.ndarray, int]:
  """Reads the vectors of the items of a table.

  Args:
    path: Parquet file with the columns `item`, the id, and `vector`, a list of numbers.
    ids: ids of the items, in the order of the item table.

  Returns:
    (vectors [I, W] float32, number of rows that belong to no item of the table). An
    item without a row has a zero vector, like an empty text.

  Raises:
    JobError: the file cannot be read, a column is missing, two rows have the same item,
      the vectors have different lengths, or a number is missing or not finite.
  """
  with storage.explained(f'--item_vectors: {path}'):
    table = storage.read_parquet(path)
  if missing := {*COLUMNS} - {*table.column_names}:
    raise JobError(
      f'{path}: no column {min(missing)!r} among {table.column_names}; expected the '
      f'columns {" and ".join(COLUMNS)}'
    )
  given = [str(value) for value in table['item'].to_pylist()]
  matrix = _matrix(path, given, table['vector'].combine_chunks())
  seen: dict[str, int] = {}
  for number, item in enumerate(given):
    if item in seen:
      raise JobError(f'{path}: rows {seen[item]} and {number} both have item {item!r}')
    seen[item] = number
  wanted = ids.to_pylist()
  places = np.array([seen.get(item, -1) for item in wanted], np.int64)
  if not (places >= 0).any():
    raise JobError(
      f'{path}: none of its {len(given)} items is in the histories, whose first is '
      f'{wanted[0]!r}; expected ids as in the items file'
    )
  vectors = np.where(places[:, None] >= 0, matrix[places], 0)
  return vectors, len(given) - int((places >= 0).sum())


def _matrix(path, items, column: pa.Array) -> np.ndarray:
  """Returns a column of lists of one length as [rows, W] float32."""
  kind = column.type
  is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
  is_list |= pa.types.is_fixed_size_list(kind)
  numbers = is_list and (
    pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
  )
  if not numbers or not len(column):
    raise JobError(
      f'{path}: the column vector has {len(column)} values of type {kind}; expected '
      'lists of numbers'
    )
  sizes = pc.list_value_length(column).fill_null(0).to_numpy()
  if len(odd := np.flatnonzero((sizes != sizes[0]) | (sizes == 0))):
    row = odd[0]
    raise JobError(
      f'{path}: row {row}, item {items[row]!r}: a vector of {sizes[row]} numbers; '
      f'expected {sizes[0] or "some"}, as in row 0'
    )
  flat = column.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
  matrix = flat.reshape(len(column), -1)
  if len(bad := np.flatnonzero(~np.isfinite(matrix).all(axis=1))):
    raise JobError(
      f'{path}: row {bad[0]}, item {items[bad[0]]!r}: a number that is missing or not '
      'finite'
    )
  return matrix
