"""The baseline that a model is below."""

import numpy as np
import pytest

from pipelines.report.better_baseline import find_better_baseline
from pipelines.report.scoring import score_methods
from tasks import metrics

RUN = {'seed': 3, 'bootstrap_samples': 40}
RNG = np.random.default_rng(0)
TRUTH = RNG.random((60, 6)) < 0.4


def wrong(share: float) -> np.ndarray:
  """Answers of which a share is wrong."""
  return TRUTH ^ (RNG.random(TRUTH.shape) < share)


def compare(**answers):
  methods = score_methods(TRUTH, answers, 0, RUN)
  return find_better_baseline(TRUTH, answers, methods, RUN), methods


def test_the_best_one_is_named_with_the_difference():
  answers = {
    'persoma': wrong(0.4),
    'constant': wrong(0.5),
    'linear_probe': wrong(0.1),
    'nearest_users': wrong(0.3),
    'rule_on_sample': TRUTH,  # a bound
  }
  found, methods = compare(**answers)
  ours, best = methods['persoma']['f1'], methods['linear_probe']['f1']
  assert (found['method'], found['f1']) == ('linear_probe', best)
  assert found['difference'] == pytest.approx(best - ours)
  low, high = metrics.paired_bootstrap(
    TRUTH, answers['linear_probe'], answers['persoma'], samples=40, seed=3
  )
  assert (found['difference_low'], found['difference_high']) == (low, high)
  for part in ('linear_probe', f'F1 {ours:.3f} against {best:.3f}', f'{low:.3f} to'):
    assert part in found['text']
  assert '\n' not in found['text']


def test_a_model_that_is_not_below():
  same = wrong(0.2)
  for others in (wrong(0.4), same):
    found, _ = compare(persoma=same, counting=others, rule_on_sample=TRUTH)
    assert found is None
