"""Streams of batches of like length, over the real tasks and generated histories."""

import inspect
import itertools
import json

import numpy as np
import pytest

from persoma_tf.training import batching
from persoma_tf.training.stages import segments
from persoma_tf.training.training_run import Recipe, TrainingRun
from tasks import genre_prediction

pytestmark = pytest.mark.assets
PARTS = 'movielens_genre_prediction_subhistories_v1'
LENGTHS = {
  'history': lambda batch: batch['history_mask'].sum(1),
  'targets': lambda batch: batch['decoder_loss_weights'].sum(1),
}


def stream(group_by='', seed=0, batch_size=4):
  lengths = genre_prediction.feature_lengths()
  return batching.training_batches(PARTS, 'train', lengths, batch_size, seed, group_by)


def examples(batches):
  """Every row as text that does not tell how it was padded."""
  for batch in batches:
    for row in range(len(batch['history_mask'])):
      kept = {key: np.trim_zeros(x[row].ravel(), 'b') for key, x in batch.items()}
      yield ' '.join(f'{key}{x.tolist()}' for key, x in sorted(kept.items()))


@pytest.mark.parametrize('group_by', ['history', 'targets'])
def test_a_batch_is_padded_to_the_quarter_that_its_rows_need(recipe, group_by):
  recipe()
  limits = genre_prediction.feature_lengths()
  limit = limits['history_mask' if group_by == 'history' else 'targets']
  quarters = {-(-part * limit // 4): part for part in (1, 2, 3, 4)}
  seen = set()
  for batch in itertools.islice(stream(group_by), 20):
    names = [name for name in batching.GROUPS[group_by] if name in batch]
    (size,) = {batch[name].shape[1] for name in names}
    needed = (-(-LENGTHS[group_by](batch) * 4 // limit)).clip(1)
    assert set(needed) == {quarters[size]}, 'all rows need what they get'
    others = {name for group in batching.GROUPS.values() for name in group} - {*names}
    full = next(stream())
    others &= batch.keys()
    assert all(batch[name].shape[1] == full[name].shape[1] for name in others)
    seen.add(size)
  assert len(seen) > 1


@pytest.mark.parametrize('group_by', ['history', 'targets'])
def test_grouping_only_changes_the_order(recipe, group_by, monkeypatch):
  monkeypatch.setattr(batching, '_WINDOW', 10)
  recipe()
  plain = list(examples(itertools.islice(stream(), 20)))
  batches = list(itertools.islice(stream(group_by), 20))
  grouped = list(examples(batches))
  for window in (slice(40), slice(40, 80)):
    assert sorted(grouped[window]) == sorted(plain[window])
  assert grouped != plain
  # The rest of each length, at the end of a window, is padded to the longest quarter.
  limits = genre_prediction.feature_lengths()
  limit = limits['history_mask' if group_by == 'history' else 'targets']
  name = batching.GROUPS[group_by][0]
  for batch in batches:
    longest = LENGTHS[group_by](batch).max()
    quarter = max(-(-longest * 4 // limit), 1)
    assert batch[name].shape[1] == -(-quarter * limit // 4)


def test_every_user_is_drawn_once_an_epoch(recipe, folders):
  """Through a run of short stretches, as a training with many checkpoints has."""
  recipe(
    "train.task = 'movielens_genre_prediction_v1'",
    'train.checkpoint_period = 1',
    'train.stages = [@histories/Stage()]',
    "histories/Stage.group_by = 'targets'",
    'histories/Stage.steps = 13',
    'histories/Stage.batch_size = 2',
  )
  run = TrainingRun(Recipe())
  count = schema_users(folders)
  (stage,) = run.stages
  drawn = []
  for stretch in segments([stage], 1):
    drawn += examples(itertools.islice(data_of(run, stretch), 1))
  assert len(drawn) == 26 == count
  assert len(set(drawn)) == 26


def schema_users(folders):
  """Number of training users."""
  return json.loads((folders[0] / 'dataset_info.json').read_text())['counts']['users'][
    'train'
  ]


def data_of(run, stretch):
  """The stream of a stretch."""
  names = inspect.signature(run.data).parameters
  given = {'stage': stretch.stage, 'start': stretch.start, 'step': stretch.begin}
  return run.data(*(given[name] for name in names))


def test_the_same_seed_is_the_same_stream(recipe):
  recipe()
  take = lambda seed: list(examples(itertools.islice(stream('history', seed), 6)))
  assert take(3) == take(3) != take(4)


def test_nothing_to_group_by(recipe):
  recipe('history_limits.text_tokens = 100')
  task = 'movielens_genre_prediction_text_subhistories_v1'
  lengths = genre_prediction.feature_lengths()
  with pytest.raises(ValueError, match=r"'history': the task leaves history_mask"):
    batching.training_batches(task, 'train', lengths, 2, 0, 'history')


@pytest.mark.parametrize(
  ('task', 'tokens', 'wrong'),
  [
    (PARTS.replace('_sub', '_text_sub'), 0, 'text_tokens is 0: set the number'),
    (PARTS, 100, 'history_mask has a length of .* allow 0, and nothing may be cut'),
  ],
)
def test_a_history_is_not_cut_to_nothing(recipe, task, tokens, wrong):
  recipe(f'history_limits.text_tokens = {tokens}')
  lengths = genre_prediction.feature_lengths()
  with pytest.raises(ValueError, match=f'task {task}: .*{wrong}'):
    next(batching.training_batches(task, 'train', lengths, 2, 0))
