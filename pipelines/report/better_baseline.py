"""The baseline that a model is below, in numbers and in words."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks import metrics

# Needs no language model; `rule_on_sample` is a bound, `swapped_users` a control.
BASELINES = ('constant', 'counting')
VECTOR_BASELINES = ('linear_probe', 'logistic_regression', 'nearest_users')


def find_better_baseline(
  truth: np.ndarray,
  answers: Mapping[str, np.ndarray],
  methods: Mapping[str, Mapping[str, Any]],
  run_info: Mapping[str, Any],
) -> dict[str, Any] | None:
  """Finds the best baseline and compares it with the model.

  Args:
    truth: [U, 2G] bool.
    answers: [U, 2G] bool of each method.
    methods: scores of each method.
    run_info: holds `seed` and `bootstrap_samples`.

  Returns:
    {'method', 'f1', 'difference', 'difference_low', 'difference_high', 'text'}: the
    baseline's name and F1, by how much it exceeds the model's F1, the 95 % interval of
    this difference over users, and all of it as a sentence. None if no baseline has a
    higher F1 than the model.
  """
  known = [name for name in (*BASELINES, *VECTOR_BASELINES) if name in methods]
  name = max(known, key=lambda name: methods[name]['f1'])
  best, ours = methods[name]['f1'], methods['persoma']['f1']
  if best <= ours:
    return None
  low, high = metrics.paired_bootstrap(
    truth,
    answers[name],
    answers['persoma'],
    samples=run_info['bootstrap_samples'],
    seed=run_info['seed'],
  )
  return {
    'method': name,
    'f1': best,
    'difference': best - ours,
    'difference_low': low,
    'difference_high': high,
    'text': (
      f'persoma scores below {name}, which needs no language model: F1 {ours:.3f} '
      f'against {best:.3f}, a difference of {best - ours:.3f} with the 95 % interval '
      f'{low:.3f} to {high:.3f} over users.'
    ),
  }
