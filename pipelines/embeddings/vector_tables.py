"""Makes the stored tables of text vectors."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.embeddings import encoder_texts
from tasks import interaction_texts, schema


class TextVectors:
  """Holds the vectors of T distinct texts.

  Attributes:
    matrix: [T, H] float32, to be filled in the order of the texts.
  """

  def __init__(self, texts: Sequence[str], width: int):
    """Makes room for the vectors of texts.

    Args:
      texts: the texts, [T].
      width: H.
    """
    self._texts = pa.array(texts, pa.string())
    self.matrix = np.zeros((len(texts), width), np.float32)

  def of(self, texts: Sequence[str]) -> np.ndarray:
    """Returns the vectors [n, H] float32 of texts [n]; zeros for an unknown one."""
    found = pc.index_in(pa.array(texts, pa.string()), value_set=self._texts)
    known = np.asarray(found.is_valid())
    vectors = np.zeros((len(texts), self.matrix.shape[1]), np.float32)
    if known.any():
      rows = np.asarray(found.fill_null(0))
      np.take(self.matrix, rows, axis=0, out=vectors, mode='clip')
      vectors[~known] = 0
    return vectors


def vector_tables(
  vectors: TextVectors,
  pairs: np.ndarray,
  template: str,
  items: pa.Table,
  ratings: Sequence[float],
  words: interaction_texts.Words = interaction_texts.MOVIELENS,
  given: np.ndarray | None = None,
  of_events: Sequence[Sequence[str]] = (),
) -> Iterator[tuple[str, pa.Table]]:
  """Makes the tables of the embeddings folder, one after the other.

  Args:
    vectors: vectors of all distinct texts.
    pairs: [n] of `rated_pairs.PAIRS`, for `joined`.
    template: 'fields' or 'joined'.
    items: the item table.
    ratings: distinct ratings of the histories.
    words: nouns for items, genres and ratings, or the templates of a dataset file.
    given: [I, W] float32 vectors of the items, in place of those of their texts.
    of_events: texts of each template of events, as `read_event_texts` returns them.

  Yields:
    (file name, its table).
  """
  index = {'item_index': items['item_index'].to_numpy()}
  if template == 'joined':
    keys = {'item_index': pairs['item'], 'rating': pairs['rating']}
    fields = {'joined': encoder_texts.joined_texts(items, pairs, words)}
    yield 'embeddings.parquet', _table(keys, fields, vectors)
    return
  own = words if isinstance(words, interaction_texts.OwnTexts) else None
  if given is not None:
    yield 'embeddings.parquet', _stored(index, {'item_vector': given})
  else:
    fields = _item_fields(items, words)
    yield 'embeddings.parquet', _table(index, fields, vectors)
  if own:
    by_rating = _numbered('rating_text', own.value_texts(ratings))
  else:
    by_rating = {'rating_text': interaction_texts.rating_texts(ratings, words)}
  keys = {'rating': np.array(ratings, np.float32)}
  yield 'ratings.parquet', _table(keys, by_rating, vectors)
  if of_events:
    rows = {'text_index': np.arange(len(of_events[0]))}
    fields = _numbered('event_text', of_events)
    yield schema.EVENT_TEXTS, _table(rows, fields, vectors)


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


def _table(keys, fields, vectors: TextVectors):
  """Makes a table of key columns and vector columns; an empty text is a zero vector."""
  return _stored(keys, {name: vectors.of(column) for name, column in fields.items()})


def _stored(keys, fields: Mapping[str, np.ndarray]):
  """Makes a table of key columns and of vectors [rows, width] float32."""
  arrays = [pa.array(values) for values in keys.values()]
  kinds = {name: array.type for name, array in zip(keys, arrays, strict=True)}
  widths = {name: matrix.shape[1] for name, matrix in fields.items()}
  for name, matrix in fields.items():
    flat = pa.array(matrix.ravel())
    arrays.append(pa.FixedSizeListArray.from_arrays(flat, widths[name]))
  return pa.table(arrays, schema=schema.vectors_arrow(kinds, widths))
