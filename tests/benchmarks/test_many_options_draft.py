"""Generated examples fit the draft, and the classifier reads means."""

import jax
import numpy as np
import pytest

from benchmarks import many_options_draft as draft
from persoma_tf import recipes
from persoma_tf.training import training_run  # noqa: F401  registers what recipes set

_OPTIONS = 7


@pytest.fixture
def batch():
  return draft.make_batch(np.random.default_rng(0), _OPTIONS, 3, 5, 4)


@pytest.fixture(autouse=True)
def _recipe():
  nowhere = ["HISTORIES_DIR = ''", "EMBEDDINGS_DIR = ''"]
  small = ['OptionQueries.hidden = 8', 'OptionQueries.width = 8']
  recipes.parse_recipes(['runs/quickstart.gin'], [*nowhere, *small])


def test_slots_name_their_own_options(batch):
  liked, disliked = np.split(batch['answer_slots'], 2, axis=1)
  assert liked.max() < _OPTIONS <= disliked.min()
  assert disliked.max() < 2 * _OPTIONS
  assert (batch['known_categories'].sum(-1) == 1).all()


@pytest.mark.parametrize('make', [draft.option_queries, draft.mean_classifier])
def test_measured_with_few_options(make, batch):
  found = draft.measure(make(batch), batch, 1, 0.0)
  assert found['run']
  assert found['parameters'] == sum(found['parameters_of'].values())
  assert min(found['seconds_a_step'], found['seconds_a_user_drafting']) > 0
  assert found['peak_memory_gb'] >= found['resident_before_gb'] > 0


def test_what_needs_too_much_is_not_run(batch):
  found = draft.measure(draft.mean_classifier(batch), batch, 1, 1e-12)
  assert not found['run']
  assert found['temp_gb'] > 0
  assert 'seconds_a_step' not in found


def test_the_classifier_reads_the_mean_of_what_is_there(batch):
  model = draft.MeanClassifier(3)
  history, mask = batch['history_embeddings'], batch['history_mask'].copy()
  mask[:, 3:] = 0
  params = model.init(jax.random.key(0), history, mask)
  mean = history[:, :3].mean(1, keepdims=True)
  ones = np.ones((len(mean), 1), np.int32)
  expected = model.apply(params, mean, ones)
  np.testing.assert_allclose(model.apply(params, history, mask), expected, atol=1e-5)


def test_parts_of_a_draft():
  params = {
    'adapter/draft/item/bias': np.zeros(2),
    'adapter/draft/item/kernel': np.zeros((3, 2)),
    'adapter/draft/words': np.zeros((5, 4)),
  }
  assert list(draft.parameters_of(params).items()) == [('words', 20), ('item', 8)]
