"""The endless sequence of histories: each user once an epoch, entered by index."""

import collections
import itertools
import shutil

import numpy as np
import pytest
import tensorflow as tf

from persoma_tf.training import batching
from tasks import (
  genre_prediction,
  histories,
  item_prediction,  # noqa: F401  registers the mixture
)
from tests import movielens

pytestmark = pytest.mark.assets
PARTS = 'movielens_genre_prediction_subhistories_v1'
MIXTURE = 'movielens_items_and_genres_v1'
SOURCE = histories.HistorySource()


def users(start, count, seed=5):
  dataset = SOURCE.from_index('train', seed, start).take(count)
  return [row['user_id'].decode() for row in dataset.as_numpy_iterator()]


def stored(split='train'):
  dataset = histories.read_histories(split, shuffle_files=False)
  return [row['user_id'].decode() for row in dataset.as_numpy_iterator()]


def test_every_user_comes_once_an_epoch_in_another_order(recipe):
  recipe()
  everyone = stored()
  size = len(everyone)
  drawn = users(0, 3 * size)
  epochs = [drawn[at : at + size] for at in (0, size, 2 * size)]
  assert all(sorted(epoch) == sorted(everyone) for epoch in epochs)
  assert len({tuple(epoch) for epoch in (*epochs, everyone)}) == 4
  assert users(size + 3, 9) == drawn[size + 3 :][:9], 'entered by index'
  assert users(0, size, seed=6) != epochs[0]


@pytest.mark.parametrize(
  ('task', 'group_by'), [(PARTS, ''), (PARTS, 'history'), (MIXTURE, 'targets')]
)
def test_a_stream_that_starts_later_is_the_rest_of_the_stream(
  recipe, task, group_by, monkeypatch
):
  monkeypatch.setattr(batching, '_WINDOW', 3)
  recipe('feature_lengths.min_targets = 64')
  lengths = genre_prediction.feature_lengths()
  stream = lambda done: batching.training_batches(
    task, 'train', lengths, 4, 1, group_by, done
  )
  whole = list(itertools.islice(stream(0), 11))
  for ours, theirs in zip(stream(7), whole[7:], strict=False):
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
      np.testing.assert_array_equal(x, theirs[name])


def test_parts_differ_from_epoch_to_epoch(recipe):
  recipe()
  size, lengths = len(stored()), genre_prediction.feature_lengths()
  batches = itertools.islice(
    batching.training_batches(PARTS, 'train', lengths, size, 0), 2
  )
  first, second = (
    {tuple(np.trim_zeros(row.ravel()).tolist()) for row in x['history_embeddings']}
    for x in batches
  )
  assert len(first & second) < size / 3


def test_a_mixture_spreads_its_tasks_evenly():
  turns = batching._turns([1, 3, 0])
  assert turns[:8].tolist() == [1, 0, 1, 1, 1, 0, 1, 1]
  assert collections.Counter(turns.tolist()) == {0: 250, 1: 750}


def test_compressed_and_damaged_files(tmp_path, monkeypatch, folders):
  from pipelines import build_histories

  data = movielens.write(tmp_path)
  build_histories.run(
    [
      f'--ratings={data}/ratings.csv',
      f'--movies={data}/movies.csv',
      f'--output_dir={tmp_path}/histories',
      '--max_history=30',
      '--train_fraction=0.6',
      '--validation_fraction=0.1',
      '--compression=GZIP',
    ]
  )
  place = folders[0]
  monkeypatch.setattr(
    histories, 'data_folders', lambda: histories.Folders(str(place), '')
  )
  plain = users(7, 30)
  place = tmp_path / 'histories'
  assert users(7, 30) == plain
  place = tmp_path
  name = tmp_path / 'train-00000-of-00001.tfrecord'
  good = next(folders[0].glob('train-*')).read_bytes()
  name.write_bytes(good)
  shutil.copy(folders[0] / 'dataset_info.json', tmp_path)
  stream = SOURCE.from_index('train', 5, 0).as_numpy_iterator()
  name.write_bytes(good + good)
  with pytest.raises(tf.errors.OpError, match=rf'{name} has changed since'):
    next(stream)
  assert len({*users(0, 50)}) < 50, 'read anew'
  name.write_bytes(good[:-5])
  with pytest.raises(ValueError, match=rf'{name}: .*truncated'):
    users(0, 1)
