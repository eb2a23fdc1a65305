"""Gathering of interaction vectors."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.item_vectors import ItemVectors


def test_fields(folders):
  _, embeddings = folders
  vectors = ItemVectors(str(embeddings))
  assert vectors.width == 12
  items = pq.read_table(embeddings / 'embeddings.parquet').to_pandas()
  stars = pq.read_table(embeddings / 'ratings.parquet').to_pandas()
  wanted, ratings = np.array([7, 0, 7]), np.array([4.5, 1.0, 3.0], np.float32)
  made = vectors.gather(wanted, ratings)
  for row, (item, rating) in enumerate(zip(wanted, ratings, strict=True)):
    text = stars[stars.rating == rating].rating_text.iloc[0]
    np.testing.assert_array_equal(made[row, :8], items.title_genres[item])
    np.testing.assert_array_equal(made[row, 8:], text)
  assert vectors.gather(wanted[:0], ratings[:0]).shape == (0, 12)
  of_items = np.stack(items.title_genres)
  np.testing.assert_array_equal(vectors.by_item(len(items)), of_items)
  with pytest.raises(KeyError, match=r'rating 3.25 has no vector'):
    vectors.gather(wanted[:1], np.array([3.25], np.float32))


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
  made = vectors.gather(np.array([9, 4]), np.array([5.0, 5.0], np.float32))
  np.testing.assert_array_equal(made, [[4, 5], [2, 3]])
  wanted = np.full((11, 2), np.nan)
  wanted[4], wanted[9] = [1, 2], [4, 5]
  np.testing.assert_array_equal(vectors.by_item(11), wanted)
  with pytest.raises(KeyError):
    vectors.gather(np.array([9]), np.array([1.0], np.float32))


def test_unfinished_folder(tmp_path):
  with pytest.raises(FileNotFoundError, match='not a finished folder'):
    ItemVectors(str(tmp_path))
