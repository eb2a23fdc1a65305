"""Gathering of interaction vectors."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.history_columns import HistoryColumns
from tasks.item_vectors import ItemVectors


def test_fields(folders):
  _, embeddings = folders
  vectors = ItemVectors(str(embeddings))
  assert vectors.width == 12
  items = pq.read_table(embeddings / 'embeddings.parquet').to_pandas()
  stars = pq.read_table(embeddings / 'ratings.parquet').to_pandas()
  wanted, ratings = np.array([7, 0, 7]), np.array([4.5, 1.0, 3.0], np.float32)
  made = vectors.gather(HistoryColumns(wanted, ratings))
  for row, (item, rating) in enumerate(zip(wanted, ratings, strict=True)):
    text = stars[stars.rating == rating].rating_text.iloc[0]
    np.testing.assert_array_equal(made[row, :8], items.title_genres[item])
    np.testing.assert_array_equal(made[row, 8:], text)
  assert vectors.gather(HistoryColumns(wanted[:0], ratings[:0])).shape == (0, 12)
  of_items = np.stack(items.title_genres)
  np.testing.assert_array_equal(vectors.by_item(len(items)), of_items)
  with pytest.raises(KeyError, match=r'rating 3.25 has no vector'):
    vectors.gather(HistoryColumns(wanted[:1], np.array([3.25], np.float32)))


def test_joined(tmp_path):
  values = pa.array(np.arange(6, dtype=np.float32))
  table = pa.table(
    {
      'item_index': [4, 4, 9],
      'rating': pa.array([1.0, 5.0, 5.0], pa.float32()),
      'joined': pa.FixedSizeListArray.from_arrays(values, 2),
    }
  )
  pq.write_table(table, tmp_path / 'embeddings.parquet')
  (tmp_path / 'encoder_info.json').write_text('{}')
  (tmp_path / 'COMPLETED').write_text('{}')
  vectors = ItemVectors(str(tmp_path))
  made = vectors.gather(HistoryColumns(np.array([9, 4]), np.float32([5, 5])))
  np.testing.assert_array_equal(made, [[4, 5], [2, 3]])
  wanted = np.full((11, 2), np.nan)
  wanted[4], wanted[9] = [1, 2], [4, 5]
  np.testing.assert_array_equal(vectors.by_item(11), wanted)
  with pytest.raises(KeyError):
    vectors.gather(HistoryColumns(np.array([9]), np.array([1.0], np.float32)))


OF_TEXTS = np.arange(10, dtype=np.float32).reshape(5, 2)


def add_texts(folder):
  columns = [pa.array(range(5)), pa.FixedSizeListArray.from_arrays(OF_TEXTS.ravel(), 2)]
  table = pa.table(columns, names=['text_index', 'event_text'])
  pq.write_table(table, folder / 'event_texts.parquet')


@pytest.mark.parametrize('has_texts', [False, True])
@pytest.mark.parametrize('has_values', [False, True])
@pytest.mark.parametrize('has_statistics', [False, True])
def test_parts_of_a_vector(folders, tmp_path, has_texts, has_values, has_statistics):
  """The item, its statistics, the value, the text: each there or not."""
  shutil.copytree(folders[1], tmp_path / 'e')
  stars = pq.read_table(tmp_path / 'e' / 'ratings.parquet')
  if has_texts:
    add_texts(tmp_path / 'e')
  if not has_values:
    pq.write_table(stars.select(['rating']), tmp_path / 'e' / 'ratings.parquet')
  vectors = ItemVectors(str(tmp_path / 'e'))
  of_items = vectors.tables[0]
  told = np.random.default_rng(0).normal(size=(3, len(of_items), 2)).astype(np.float32)
  if has_statistics:
    vectors = vectors.with_statistics(told, len)  # the fold is the length of the id
  items, texts = np.array([7, 0, 7]), np.array([3, 0, 1])
  shown = HistoryColumns(items, np.float32([4.5, 1, 4.5]), texts[: 3 * has_texts])
  parts = [of_items[items]]
  parts += [told[2][items] * of_items.std(axis=0).mean()] * has_statistics
  own = np.concatenate(parts, axis=1)
  by_value = dict(zip(stars['rating'].to_pylist(), stars[1].to_pylist(), strict=True))
  parts += [np.float32([by_value[x] for x in shown.ratings.tolist()])] * has_values
  parts += [OF_TEXTS[texts]] * has_texts
  made = vectors.gather(shown, b'ab')
  np.testing.assert_array_equal(made, np.concatenate(parts, axis=1))
  assert made.shape[1] == vectors.width == sum(x.shape[1] for x in vectors.tables)
  np.testing.assert_array_equal(vectors.gather_items(items, b'ab'), own)
  np.testing.assert_array_equal(made[:, : own.shape[1]], own)
  assert vectors.has_values == has_values
  assert vectors.gather(shown.take(slice(0)), b'ab').shape == (0, vectors.width)
  rows, drawn, _ = vectors.draw(4, np.random.default_rng(0))
  assert rows.shape == (4, len(vectors.tables))
  assert rows.dtype == np.int32
  np.testing.assert_array_equal(rows[:, 0], drawn)


def test_texts_of_events(folders, tmp_path):
  shutil.copytree(folders[1], tmp_path / 'e')
  add_texts(tmp_path / 'e')
  without, vectors = ItemVectors(str(folders[1])), ItemVectors(str(tmp_path / 'e'))
  assert vectors.width == without.width + 2
  shown = HistoryColumns(np.array([7, 0]), np.float32([4.5, 1.0]), np.array([3, 0]))
  made = vectors.gather(shown)
  plain = without.gather(shown._replace(texts=shown.texts[:0]))
  np.testing.assert_array_equal(made[:, :-2], plain)
  np.testing.assert_array_equal(made[:, -2:], OF_TEXTS[[3, 0]])
  assert vectors.gather(shown.take(slice(0))).shape == (0, vectors.width)
  rows, items, _ = vectors.draw(200, np.random.default_rng(0))
  assert {*rows[:, 2].tolist()} == {*range(5)}
  before, same, _ = without.draw(200, np.random.default_rng(0))
  np.testing.assert_array_equal(rows[:, :2], before)
  np.testing.assert_array_equal(items, same)
  for texts, told in (([5, 0], r'\[5\]; .* holds 5 texts'), ([], '0 for 2 items')):
    with pytest.raises(KeyError, match=told):
      vectors.gather(shown._replace(texts=np.array(texts, np.int64)))
  with pytest.raises(KeyError, match=r'\[3\]; the embeddings folder holds 0 texts'):
    without.gather(shown)


def test_unfinished_folder(tmp_path):
  with pytest.raises(FileNotFoundError, match='not a finished folder'):
    ItemVectors(str(tmp_path))
