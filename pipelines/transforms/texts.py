"""Interactions as the texts that the history encoder reads.

`fields` are UEM's strings (arXiv 2401.04858), each encoded on its own: title with
genres, description, rating. `joined` is one sentence an interaction.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

TEMPLATES = ('fields', 'joined')


def title_genres(items: pa.Table) -> list[str]:
  """'The movie X (1999) is listed with genres A, B' of each item of the table."""
  return [
    f'The movie {_title(row)} is listed with {_genres(row)}'
    for row in items.select(['title', 'year', 'genres']).to_pylist()
  ]


def ratings(values: Iterable[float]) -> list[str]:
  """'The movie is rated with 4.5 stars' of each rating."""
  return [f'The movie is rated with {value:.1f} stars' for value in values]


def joined(items: pa.Table, pairs: np.ndarray) -> list[str]:
  """One sentence an interaction, followed by the item's description if it has one.

  Args:
    items: the item table.
    pairs: [n] structured array of (item_index, rating).
  """
  names, descriptions = title_genres(items), items['description'].to_pylist()
  texts = []
  for item, rating in pairs.tolist():
    text = f'{names[item]}, rated {rating:.1f} stars'
    texts.append(f'{text}. {descriptions[item]}' if descriptions[item] else text)
  return texts


def searchable(items: pa.Table) -> list[str]:
  """All that is known of each item of the table, for search by words."""
  return [
    ' '.join([row['title'], *row['genres'], *row['tags'], row['description']])
    for row in items.select(['title', 'genres', 'tags', 'description']).to_pylist()
  ]


def distinct(texts: Iterable[str]) -> list[str]:
  """The different texts, shortest first, so that batches hold like lengths."""
  return sorted(set(texts) - {''}, key=lambda text: (len(text), text))


def batches(texts: Sequence[str], size: int) -> list[list[str]]:
  """Cuts texts into lists of at most `size`."""
  return [list(texts[at : at + size]) for at in range(0, len(texts), size)]


def _title(row):
  return f'{row["title"]} ({row["year"]})' if row['year'] else row['title']


def _genres(row):
  return f'genres {", ".join(row["genres"])}' if row['genres'] else 'no genres'
