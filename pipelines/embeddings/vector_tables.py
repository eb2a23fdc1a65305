"""Makes the stored tables of text vectors."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipelines.embeddings import encoder_texts
from tasks import interaction_texts, schema


def vector_tables(
  vectors: Mapping[str, np.ndarray],
  width: int,
  pairs: np.ndarray,
  template: str,
  items: pa.Table,
  ratings: Sequence[float],
  words: interaction_texts.Words = interaction_texts.MOVIELENS,
  given: np.ndarray | None = None,
  of_events: Sequence[Sequence[str]] = (),
) -> dict[str, pa.Table]:
  """Makes the tables of the embeddings folder.

  Args:
    vectors: vector [H] float32 of every distinct text.
    width: H.
    pairs: [n] of `rated_pairs.PAIRS`, for `joined`.
    template: 'fields' or 'joined'.
    items: the item table.
    ratings: distinct ratings of the histories.
    words: nouns for items, genres and ratings, or the templates of a dataset file.
    given: [I, W] float32 vectors of the items, in place of those of their texts.
    of_events: texts of each template of events, as `read_event_texts` returns them.

  Returns:
    The table of each file name.
  """
  index = {'item_index': items['item_index'].to_numpy()}
  if template == 'joined':
    keys = {'item_index': pairs['item'], 'rating': pairs['rating']}
    fields = {'joined': encoder_texts.joined_texts(items, pairs, words)}
    return {'embeddings.parquet': _table(keys, fields, vectors, width)}
  own = words if isinstance(words, interaction_texts.OwnTexts) else None
  if given is not None:
    of_items = _stored(index, {'item_vector': given})
  elif own:
    fields = _numbered('item_text', own.item_texts(items))
    of_items = _table(index, fields, vectors, width)
  else:
    fields = {'title_genres': interaction_texts.title_genres(items, words)}
    described = items['description'].to_pylist()
    if any(described):
      fields['description'] = described
    of_items = _table(index, fields, vectors, width)
  if own:
    by_rating = _numbered('rating_text', own.value_texts(ratings))
  else:
    by_rating = {'rating_text': interaction_texts.rating_texts(ratings, words)}
  keys = {'rating': np.array(ratings, np.float32)}
  tables = {
    'embeddings.parquet': of_items,
    'ratings.parquet': _table(keys, by_rating, vectors, width),
  }
  if of_events:
    rows = {'text_index': np.arange(len(of_events[0]))}
    fields = _numbered('event_text', of_events)
    tables[schema.EVENT_TEXTS] = _table(rows, fields, vectors, width)
  return tables


def _numbered(name, columns):
  """Names the columns of several templates; the first one has no number."""
  return {f'{name}_{place}' if place else name: x for place, x in enumerate(columns)}


def _table(keys, fields, vectors, width):
  """Makes a table of key columns and vector columns; an empty text is a zero vector."""
  nothing, zero = np.zeros(0, np.float32), np.zeros(width, np.float32)
  found = {}
  for name, column in fields.items():
    flat = np.concatenate([nothing, *(vectors.get(text, zero) for text in column)])
    found[name] = flat.reshape(-1, width)
  return _stored(keys, found)


def _stored(keys, fields: Mapping[str, np.ndarray]):
  """Makes a table of key columns and of vectors [rows, width] float32."""
  arrays = [pa.array(values) for values in keys.values()]
  kinds = {name: array.type for name, array in zip(keys, arrays, strict=True)}
  widths = {name: matrix.shape[1] for name, matrix in fields.items()}
  for name, matrix in fields.items():
    flat = pa.array(matrix.ravel())
    arrays.append(pa.FixedSizeListArray.from_arrays(flat, widths[name]))
  return pa.table(arrays, schema=schema.vectors_arrow(kinds, widths))
