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
  nouns: interaction_texts.Nouns = interaction_texts.MOVIELENS,
) -> dict[str, pa.Table]:
  """Makes the tables of the embeddings folder.

  Args:
    vectors: vector [H] float32 of every distinct text.
    width: H.
    pairs: [n] of `rated_pairs.PAIRS`, for `joined`.
    template: 'fields' or 'joined'.
    items: the item table.
    ratings: distinct ratings of the histories.
    nouns: words for items, genres and ratings.

  Returns:
    The table of each file name.
  """
  index = {'item_index': items['item_index'].to_numpy()}
  if template == 'joined':
    keys = {'item_index': pairs['item'], 'rating': pairs['rating']}
    fields = {'joined': encoder_texts.joined_texts(items, pairs, nouns)}
    return {'embeddings.parquet': _table(keys, fields, vectors, width)}
  fields = {'title_genres': interaction_texts.title_genres(items, nouns)}
  described = items['description'].to_pylist()
  if any(described):
    fields['description'] = described
  by_rating = {'rating_text': interaction_texts.rating_texts(ratings, nouns)}
  keys = {'rating': np.array(ratings, np.float32)}
  return {
    'embeddings.parquet': _table(index, fields, vectors, width),
    'ratings.parquet': _table(keys, by_rating, vectors, width),
  }


def _table(keys, fields, vectors, width):
  """Makes a table of key columns and vector columns; an empty text is a zero vector."""
  nothing, zero = np.zeros(0, np.float32), np.zeros(width, np.float32)
  arrays = [pa.array(values) for values in keys.values()]
  kinds = {name: array.type for name, array in zip(keys, arrays, strict=True)}
  for column in fields.values():
    flat = np.concatenate([nothing, *(vectors.get(text, zero) for text in column)])
    arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), width))
  return pa.table(
    arrays, schema=schema.vectors_arrow(kinds, dict.fromkeys(fields, width))
  )
