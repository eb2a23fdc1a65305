"""The SeqIO tasks, over generated histories."""

import functools
import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import seqio

from persoma_tf.training import batching
from pipelines.common import tfrecord
from pipelines.histories import history_records
from tasks import example_arrays, genre_prediction, item_vectors, questions
from tasks import histories as read
from tasks.history_columns import HistoryColumns
from tasks.vocabularies import VOCABULARY

pytestmark = pytest.mark.assets
QUESTION = questions.MOVIELENS
PARTS = 'movielens_genre_prediction_subhistories_v1'


def stored(folder, split: str) -> dict[str, dict]:
  return {
    history['user_id']: history
    for path in sorted(folder.glob(f'{split}-*'))
    for history in map(
      history_records.decode_example, tfrecord.read_tfrecord(str(path))
    )
  }


def test_stored_histories(recipe, folders):
  recipe()
  lengths = genre_prediction.feature_lengths()
  task = seqio.get_mixture_or_task(QUESTION.name)
  histories = stored(folders[0], 'test')
  vectors = item_vectors.load_item_vectors(str(folders[1]))
  seen = set()
  for row in task.get_dataset(lengths, 'test', shuffle=False).as_numpy_iterator():
    history = histories[row['user_id'].decode()]
    seen.add(history['user_id'])
    shown = HistoryColumns.of_record(history).take(slice(12))
    np.testing.assert_array_equal(row['history_embeddings'], vectors.gather(shown))
    assert row['history_mask'].tolist() == [1] * len(shown.items)
    vocabulary = task.output_features['targets'].vocabulary
    text = vocabulary.decode(row['targets'].tolist()[:-1])
    assert text == QUESTION.answer(history['liked'], history['disliked'])
    assert row['targets'][-1] == vocabulary.eos_id
    assert vocabulary.decode(row['inputs'].tolist()) == questions.TASK_PROMPT
  assert seen == histories.keys()


def test_features_for_the_model(recipe, folders):
  recipe()
  lengths = genre_prediction.feature_lengths()
  batch = next(batching.training_batches(PARTS, 'train', lengths, 4, seed=0))
  targets, weights = batch['decoder_target_tokens'], batch['decoder_loss_weights']
  assert targets.shape == (4, lengths['targets'])
  assert batch['encoder_input_tokens'].shape == (4, lengths['inputs'])
  assert batch['history_embeddings'].shape == (4, 12, 12)
  assert batch['history_embeddings'].dtype == np.float32
  assert batch['answer_slots'].shape == (4, 6)
  ends = weights.sum(1) - 1
  assert (targets[np.arange(4), ends] == 2).all(), 'no end was cut off'
  inputs, read = batch['decoder_input_tokens'], weights[:, 1:] > 0
  np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1] * read)
  assert not inputs[:, 0].any()
  padding = batch['history_mask'] == 0
  assert not batch['history_embeddings'][padding].any()


def test_the_same_seed_is_the_same_stream(recipe):
  recipe()
  lengths = genre_prediction.feature_lengths()
  streams = [
    batching.training_batches(PARTS, 'train', lengths, 4, seed) for seed in (3, 3, 4)
  ]
  first, again, other = (
    [next(stream)['history_embeddings'] for _ in range(30)] for stream in streams
  )
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first, other)


def test_labels_of_parts_are_those_of_the_part(recipe, folders):
  """The slots of every drawn part, against pandas on the rows it shows."""
  recipe('history_limits.items = 30')
  lengths = genre_prediction.feature_lengths()
  genres = read.load_genres(str(folders[0]))
  vectors = item_vectors.load_item_vectors(str(folders[1]))
  items, stars = vectors.tables
  batch = next(batching.training_batches(PARTS, 'train', lengths, 32, seed=0))
  for row in range(32):
    shown = batch['history_embeddings'][row][batch['history_mask'][row] > 0]
    item = [int(np.argmin(((items - x[:8]) ** 2).sum(1))) for x in shown]
    rating = [int(np.argmin(((stars - x[8:]) ** 2).sum(1))) for x in shown]
    rows = [
      (genres.names[genre], vectors._ratings[r])
      for i, r in zip(item, rating, strict=True)
      for genre in np.flatnonzero(genres.of_items[i])
    ]
    table = pd.DataFrame(rows, columns=['genre', 'rating']).groupby('genre').rating
    table = table.agg(['mean', 'count']).reset_index()
    table = table[table['count'] >= 3]
    sides = []
    for chosen, up in (
      (table[table['mean'] > 3.5], False),
      (table[table['mean'] < 3], True),
    ):
      order = chosen.sort_values(
        ['mean', 'count', 'genre'], ascending=[up, False, True]
      )
      sides.append([genres.names.index(name) for name in order.genre[:3]])
    expected = example_arrays.answer_slots(*sides, len(genres.names), 3)
    np.testing.assert_array_equal(batch['answer_slots'][row], expected)


def test_parts_have_labels_of_the_future_as_they_are(recipe, folders, tmp_path):
  """What a user likes later does not depend on the part that is shown."""
  recipe('history_limits.items = 30')
  lengths = genre_prediction.feature_lengths()
  slots = lambda task: {
    tuple(row)
    for batch in itertools.islice(
      batching.training_batches(task, 'train', lengths, 8, seed=0), 8
    )
    for row in batch['answer_slots'].tolist()
  }
  whole, parts = slots('movielens_genre_prediction_v1'), slots(PARTS)
  assert parts - whole, 'parts have labels of their own'
  future = tmp_path / 'histories'
  shutil.copytree(folders[0], future)
  info = json.loads((future / 'dataset_info.json').read_text())
  (future / 'dataset_info.json').write_text(json.dumps(info | {'label_mode': 'future'}))
  recipe('history_limits.items = 30', f'data_folders.histories_dir = {str(future)!r}')
  assert slots(PARTS) <= whole


def test_statistics():
  member = np.array([[1, 0, 1], [1, 0, 0]], bool)
  made = example_arrays.history_statistics(member, np.array([4.0, 1.0], np.float32))
  expected = [-0.5, np.nan, 1.0, np.log(3), 0, np.log(2)]
  np.testing.assert_allclose(made, expected, rtol=1e-6)


def test_statistics_are_those_of_five_stars_on_every_scale(recipe, folders, tmp_path):
  """Histories of ten-star ratings make the targets of the same ratings as stars."""
  histories = shutil.copytree(folders[0], tmp_path / 'histories')
  info = json.loads((histories / 'dataset_info.json').read_text())
  info['rating_scale'] = '1:10:1'
  (histories / 'dataset_info.json').write_text(json.dumps(info))
  recipe(f'HISTORIES_DIR = {str(histories)!r}')
  lengths = genre_prediction.feature_lengths()
  task = seqio.get_mixture_or_task('movielens_genre_prediction_v1')
  drawn = lambda: {
    row['user_id']: row['history_statistics']
    for row in task.get_dataset(lengths, 'train', shuffle=False).as_numpy_iterator()
  }
  found = drawn()
  recipe()
  half = lengths['history_statistics'] // 2
  for user, plain in drawn().items():
    mean = plain[:half] + 3  # of the ratings
    np.testing.assert_allclose(found[user][:half], 0.5 + (mean - 1) / 2 - 3, atol=1e-5)
    np.testing.assert_array_equal(found[user][half:], plain[half:])


@pytest.mark.parametrize('length', [1, 3, 20, 200])
def test_sub_history(length):
  rng = np.random.default_rng(0)
  drawn = [read.sub_history(length, 80, rng) for _ in range(300)]
  sizes = {len(rows) for rows in drawn}
  assert min(sizes) >= min(20, length)
  assert max(sizes) == min(length, 80)
  for rows in drawn:
    assert np.all(np.diff(rows) > 0)
    assert rows[0] >= 0
    assert rows[-1] < length
  windows = np.mean([rows[-1] - rows[0] == len(rows) - 1 for rows in drawn])
  assert windows >= 0.4


def test_longest_answer_fits(recipe, folders):
  recipe()
  lengths = genre_prediction.feature_lengths()
  names = read.load_genres(str(folders[0])).names
  encode = VOCABULARY.encode
  rng = np.random.default_rng(0)
  for _ in range(200):
    drawn = rng.choice(names, 6, replace=False)
    assert len(encode(QUESTION.answer(drawn[:3], drawn[3:]))) < lengths['targets']


def test_missing_split(recipe, folders, tmp_path):
  recipe(f"HISTORIES_DIR = '{tmp_path}'")
  with pytest.raises(FileNotFoundError, match='no train-'):
    read.read_histories('train', False)


def test_a_split_without_users(recipe, folders, tmp_path, caplog):
  info = json.loads((folders[0] / 'dataset_info.json').read_text())
  info['counts']['users'] = {'train': 0, 'validation': 0, 'test': 3}
  (tmp_path / 'dataset_info.json').write_text(json.dumps(info))
  for split in ('train', 'validation'):
    (tmp_path / f'{split}-00000-of-00001.tfrecord').touch()
  recipe(f"HISTORIES_DIR = '{tmp_path}'")
  with pytest.raises(
    ValueError, match=r'no users in the split train \(train 0, validation 0, test 3\)'
  ):
    read.read_histories('train', False)
  entered = functools.partial(read.HistorySource().from_index, seed=1, start=0)
  with pytest.raises(ValueError, match='no users in the split train'):
    entered('train')
  assert not list(read.read_histories('validation', False))
  assert not list(entered('validation'))
  assert 'has no users for validation' in caplog.text


def test_history_as_text(recipe, folders):
  """The newest interactions that fit whole, then the task prompt."""
  recipe('history_limits.items = 9', 'history_limits.text_tokens = 150')
  lengths = genre_prediction.feature_lengths()
  name = 'movielens_genre_prediction_text_v1'
  task = seqio.get_mixture_or_task(name)
  table = pq.read_table(folders[0] / 'items.parquet').to_pylist()
  histories, cut = stored(folders[0], 'test'), 0
  for row in task.get_dataset(lengths, 'test', shuffle=False).as_numpy_iterator():
    history = histories[row['user_id'].decode()]
    expected, size = '', 0
    pairs = zip(history['history_items'], history['history_ratings'], strict=True)
    for item, rating in list(pairs)[:9]:
      movie = table[item]
      year = f' ({movie["year"]})' if movie['year'] else ''
      listed = (
        f'genres {", ".join(movie["genres"])}' if movie['genres'] else 'no genres'
      )
      line = f'The movie {movie["title"]}{year} is listed with {listed}, rated '
      line += f'{rating:.1f} stars\n'
      size += len(VOCABULARY.encode(line))
      if size > 150:
        cut += 1
        break
      expected += line
    text = VOCABULARY.decode(row['inputs'].tolist())
    assert text == expected + questions.TASK_PROMPT
    assert row['history_embeddings'].shape == (0, 1)
    assert len(row['targets']) <= lengths['targets']
  assert cut, 'some history is longer than what fits'


def test_text_batches(recipe):
  recipe('history_limits.text_tokens = 150')
  lengths = genre_prediction.feature_lengths()
  name = 'movielens_genre_prediction_text_subhistories_v1'
  batch = next(batching.training_batches(name, 'train', lengths, 4, seed=0))
  assert batch['encoder_input_tokens'].shape == (4, lengths['inputs'])
  assert batch['history_embeddings'].shape == (4, 0, 1)
  assert batch['history_mask'].shape == (4, 0)
