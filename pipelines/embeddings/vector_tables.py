"""Makes the stored tables of text vectors."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.common import storage
from pipelines.common.output_folder import OutputFolder
from pipelines.embeddings import encoder_texts
from pipelines.embeddings.vector_parts import VectorPart
from tasks import interaction_texts, schema

_GROUP = 2**20  # rows of a Parquet group, as in a table that is written at once


class TextVectors:
  """Finds the vectors of T distinct texts in the parts of a run."""

  def __init__(
    self,
    texts: Sequence[str],
    width: int,
    parts: Sequence[VectorPart],
    folder: OutputFolder,
  ):
    """Takes the texts; the parts are read when vectors are asked for.

    Args:
      texts: the texts, [T].
      width: H.
      parts: the parts with their vectors.
      folder: folder of the run.
    """
    self._texts, self._parts = pa.array(texts, pa.string()), parts
    self._folder, self.width = folder, width

  def of(self, texts: Sequence[str]) -> np.ndarray:
    """Returns the vectors [n, H] float32 of texts [n]; zeros for an unknown one."""
    found = pc.index_in(pa.array(texts, pa.string()), value_set=self._texts)
    places = found.fill_null(-1).to_numpy()
    order = np.argsort(places)
    ordered = places[order]
    vectors = np.zeros((len(texts), self.width), np.float32)
    for part in self._parts:
      rows = order[slice(*np.searchsorted(ordered, (part.first, part.end)))]
      if len(rows):
        vectors[rows] = part.read(self._folder)[places[rows] - part.first]
    return vectors


@dataclasses.dataclass(frozen=True)
class VectorTable:
  """Describes a stored table.

  Attributes:
    keys: name of a key column -> [rows].
    fields: name of a vector column -> texts [rows], or vectors [rows, W] float32.
  """

  keys: Mapping[str, np.ndarray]
  fields: Mapping[str, Sequence[str] | np.ndarray]

  def __len__(self) -> int:
    """Returns the number of rows."""
    return len(next(iter(self.keys.values())))

  def write(self, path: str, vectors: TextVectors) -> dict[str, int]:
    """Writes the file, a group of rows after the other.

    Args:
      path: path of the file.
      vectors: vectors of the texts; an empty text is a zero vector.

    Returns:
      Name of a vector column -> its width.
    """
    widths = {
      name: column.shape[1] if isinstance(column, np.ndarray) else vectors.width
      for name, column in self.fields.items()
    }
    kinds = {name: pa.from_numpy_dtype(x.dtype) for name, x in self.keys.items()}
    columns = schema.vectors_arrow(kinds, widths)
    groups = (
      pa.table(self._group(slice(at, at + _GROUP), vectors), schema=columns)
      for at in range(0, max(len(self), 1), _GROUP)
    )
    storage.write_parquet(path, columns, groups)
    return widths

  def _group(self, rows: slice, vectors) -> list[pa.Array | pa.ChunkedArray]:
    """Returns the columns of some rows."""
    arrays = [pa.array(values[rows]) for values in self.keys.values()]
    for column in self.fields.values():
      some = column[rows]
      arrays.append(_pieces(some if isinstance(some, np.ndarray) else vectors.of(some)))
    return arrays


def _pieces(matrix: np.ndarray) -> pa.ChunkedArray:
  """Returns vectors [n, W] as a column of short pieces.

  Of each piece that Arrow writes, it makes an array with two numbers for each value,
  which would take more memory than the vectors. It counts values by 1,024, and the rest
  of their row: pieces with a multiple of such rows have the bytes of a whole column.
  """
  width = matrix.shape[1]
  step = (1024 // width + 1) * 4096
  cuts = (matrix[at : at + step] for at in range(0, max(len(matrix), 1), step))
  return pa.chunked_array(
    [pa.FixedSizeListArray.from_arrays(pa.array(cut.ravel()), width) for cut in cuts]
  )


def vector_tables(
  pairs: np.ndarray,
  source: encoder_texts.StoredTexts,
  items: pa.Table,
  given: np.ndarray | None = None,
) -> dict[str, VectorTable]:
  """Describes the tables of the embeddings folder.

  Args:
    pairs: [n] of `rated_pairs.PAIRS`, for `joined`.
    source: source of the texts.
    items: the item table.
    given: [I, W] float32 vectors of the items, in place of those of their texts.

  Returns:
    File name -> its table.
  """
  index = {'item_index': items['item_index'].to_numpy()}
  ratings, words = source.ratings, source.words
  if source.template == 'joined':
    keys = {'item_index': pairs['item'], 'rating': pairs['rating']}
    fields = {'joined': encoder_texts.joined_texts(items, pairs, words)}
    return {'embeddings.parquet': VectorTable(keys, fields)}
  own = words if isinstance(words, interaction_texts.OwnTexts) else None
  fields = _item_fields(items, words) if given is None else {'item_vector': given}
  tables = {'embeddings.parquet': VectorTable(index, fields)}
  if own:
    by_rating = _numbered('rating_text', own.value_texts(ratings))
  else:
    by_rating = {'rating_text': interaction_texts.rating_texts(ratings, words)}
  keys = {'rating': np.array(ratings, np.float32)}
  tables['ratings.parquet'] = VectorTable(keys, by_rating)
  if of_events := source.read_event_texts():
    rows = {'text_index': np.arange(len(of_events[0]))}
    fields = _numbered('event_text', of_events)
    tables[schema.EVENT_TEXTS] = VectorTable(rows, fields)
  return tables


def _item_fields(items, words) -> dict[str, list[str]]:
  """Returns the texts of items, by the name of their vector."""
  if isinstance(words, interaction_texts.OwnTexts):
    return _numbered('item_text', words.item_texts(items))
  fields = {'title_genres': interaction_texts.title_genres(items, words)}
  described = items['description'].to_pylist()
  return fields | ({'description': described} if any(described) else {})


def _numbered(name, columns):
  """Names the columns of several templates; the first one has no number."""
  return {f'{name}_{place}' if place else name: x for place, x in enumerate(columns)}
