"""Encodes and decodes histories: one serialized tf.Example per user."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipelines.common import arrow_bytes, storage, tfrecord
from pipelines.common.job import JobError
from pipelines.histories import tf_example
from pipelines.histories.clean import RatingColumns
from tasks import finished, schema, shard_files

_DTYPES = {'int64': np.int64, 'float': np.float32}
_KINDS = {np.dtype(dtype).kind: kind for kind, dtype in _DTYPES.items()}


def encode_example(history: Mapping[str, Any]) -> bytes:
  """Encodes one history as a serialized tf.Example.

  Args:
    history: a value for every name in `schema.HISTORY`, and perhaps
      `schema.HISTORY_TEXTS`: sequences or arrays of
      numbers, bytes or str for texts, single values for the fields of
      `schema.SCALARS`.

  Raises:
    ValueError: a field is missing or unknown.
  """
  kinds = schema.with_texts(schema.HISTORY, history)
  _check_fields(history, kinds)
  return tf_example.encode_example_features(
    {
      name: (kind, [history[name]] if name in schema.SCALARS else history[name])
      for name, kind in kinds.items()
    }
  )


def encode_interactions(rows: RatingColumns, splits: np.ndarray) -> dict[str, pa.Array]:
  """Encodes the interactions of m histories for `encode_examples`.

  Args:
    rows: ratings of all histories, one after another.
    splits: [m + 1] int; history i has the rows from splits[i] to splits[i + 1].

  Returns:
    Name of a feature -> [m] binary; texts only if the ratings have them.
  """
  ratings = rows.rating.astype('<f4').view(np.uint8)
  found = {
    'history_items': tf_example.packed_varints(rows.item, splits),
    'history_ratings': arrow_bytes.binary(ratings, 4 * splits),
    'history_timestamps': tf_example.packed_varints(rows.timestamp, splits),
  }
  if rows.text is not None:
    found['history_texts'] = tf_example.packed_varints(rows.text, splits)
  return found


def encode_examples(
  histories: Mapping[str, pa.Array], kinds: Mapping[str, str] = schema.HISTORY
) -> pa.Array:
  """Encodes many histories to the same bytes as `encode_example`.

  Args:
    histories: a column [n] for every name in `kinds`, and perhaps in
      `schema.HISTORY_TEXTS`, in the form that `tf_example.encode_many_features` takes.
    kinds: kind of each field: `schema.HISTORY`, or `schema.example_kinds` for examples
      of a question.

  Returns:
    [n] binary, serialized tf.Examples.

  Raises:
    ValueError: a field is missing or unknown.
  """
  kinds = schema.with_texts(kinds, histories)
  _check_fields(histories, kinds)
  return tf_example.encode_many_features(
    {name: (kind, histories[name]) for name, kind in kinds.items()}
  )


def decode_example(
  data: bytes, kinds: Mapping[str, str] = schema.HISTORY
) -> dict[str, Any]:
  """Decodes one history; the inverse of `encode_example`.

  Args:
    data: a record.
    kinds: kind of each field, as in `encode_examples`.

  Returns:
    A value for every name in `kinds`, and of `schema.HISTORY_TEXTS` if the record has
    it: int64 or float32 arrays of numbers,
    lists of str, single values for the fields of `schema.SCALARS`.

  Raises:
    ValueError: `data` is not an encoded history.
  """
  features = tf_example.decode_example_features(data)
  history = {}
  for name, kind in schema.with_texts(kinds, features).items():
    if name not in features:
      raise ValueError(f'example: no field {name}; it has {sorted(features)}')
    values = _of_kind(name, kind, features[name])
    if name in schema.SCALARS and (len(values) != 1 or values[0] == ''):
      raise ValueError(f'example: field {name} is {[*values]}; expected one value')
    history[name] = values[0] if name in schema.SCALARS else values
  history['history_total'] = int(history['history_total'])
  return history


def read_history_file(
  path: str, kinds: Mapping[str, str] = schema.HISTORY, holding: bytes = b''
) -> Iterator[dict[str, Any]]:
  """Yields the histories of a file, or the examples of a question.

  Args:
    path: path of the file.
    kinds: kind of each field, as in `encode_examples`.
    holding: bytes that a record must have somewhere; others are not decoded.

  Raises:
    JobError: a record is damaged, or not a history; the message has its number.
  """
  for number, record in enumerate(tfrecord.read_tfrecord(path)):
    try:
      if holding in record:
        yield decode_example(record, kinds)
    except ValueError as error:
      raise JobError(f'{path}: record {number} is no history: {error}') from error


def _of_kind(name, kind, values):
  """Returns the values of a feature as texts or as an array of the kind of a field."""
  found = 'bytes' if isinstance(values, list) else _KINDS[values.dtype.kind]
  if len(values) and found != kind:
    raise ValueError(f'example: field {name} holds {found}; expected {kind}')
  if kind == 'bytes':
    return [value.decode() for value in values]
  return np.asarray(values, _DTYPES[kind])


def list_history_files(
  histories_dir: str, split: str = 'all', question: str = ''
) -> list[str]:
  """Lists the files of a split, or of all splits, sorted.

  Args:
    histories_dir: folder of histories.
    split: name of the split, or 'all'.
    question: name of the question whose examples are wanted; '' for histories.
  """
  wanted = schema.SPLITS if split == 'all' else (split,)
  folder = FileSystems.join(histories_dir, 'questions', question)
  paths = storage.names_in(folder if question else histories_dir)
  names = shard_files.shard_files(paths, wanted, shard_files.HISTORY_ENDINGS)
  return [paths[name] for name in names]


def require_users(histories_dir: str, split: str) -> None:
  """Checks that a split of a finished folder has users.

  Raises:
    JobError: the split has no users.
  """
  info = storage.read_json(FileSystems.join(histories_dir, 'dataset_info.json'))
  try:
    finished.check_labels(histories_dir, info)
    finished.check_users(histories_dir, split, info['counts']['users'])
  except ValueError as error:
    raise JobError(str(error)) from None


def _check_fields(history, kinds):
  if history.keys() != kinds.keys():
    wrong = sorted(history.keys() ^ kinds.keys())
    raise ValueError(f'history: missing or unknown fields {wrong}')
