"""Means of scores that every example has, with intervals over users."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks import choice_metrics


def summarize(
  scores: Mapping[str, np.ndarray], users: np.ndarray, run_info: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns means and 95 % intervals over users of a method, as in `metrics.json`.

  Args:
    scores: name -> [E] float64.
    users: [E] int, number of each example's user.
    run_info: holds `seed` and `bootstrap_samples`.
  """
  number = np.bincount(users)
  measures = {name: _mean_of(own, users, number) for name, own in scores.items()}
  samples, seed = run_info['bootstrap_samples'], run_info['seed']
  found: dict[str, Any] = {name: float(own.mean()) for name, own in scores.items()}
  if samples:
    intervals = choice_metrics.bootstrap_measures(
      measures, len(number), samples=samples, seed=seed
    )
    for name, (low, high) in intervals.items():
      found |= {f'{name}_low': float(low), f'{name}_high': float(high)}
  return {**found, 'users': len(number), 'examples': len(users), 'parse_failures': 0}


def _mean_of(values, users, number) -> choice_metrics.Measure:
  total = np.bincount(users, values)
  return lambda drawn: (drawn @ total) / (drawn @ number)


def better_method(
  scores: Mapping[str, Mapping[str, np.ndarray]],
  users: np.ndarray,
  methods: Mapping[str, Mapping[str, Any]],
  run_info: Mapping[str, Any],
  score: str,
  compared: tuple[str, Sequence[str]],
  word: str,
  knows: str,
) -> dict[str, Any] | None:
  """Compares the best control with a method; None if the method scores higher.

  Args:
    scores: scores [E] of each method.
    users: [E] int, number of each example's user.
    methods: scores of each method, as in `metrics.json`.
    run_info: holds `seed` and `bootstrap_samples`.
    score: name of the score.
    compared: (the model's method, names of the controls).
    word: the score as a reader knows it.
    knows: what the controls lack, in words.

  Returns:
    As `choice_scoring.better_floor`.
  """
  model, controls = compared
  known = [name for name in controls if name in methods]
  name = max(known, key=lambda name: methods[name][score])
  best, ours = methods[name][score], methods[model][score]
  if best <= ours:
    return None
  apart = scores[name][score] - scores[model][score]
  found = summarize({'difference': apart}, users, run_info)
  low, high = (found.get(f'difference_{x}') for x in ('low', 'high'))
  interval = (
    ''
    if low is None
    else (f' with the 95 % interval {low:.3f} to {high:.3f} over users')
  )
  return {
    'method': name,
    'score': score,
    score: best,
    'difference': found['difference'],
    'difference_low': low,
    'difference_high': high,
    'text': (
      f'{model} scores below {name}, which {knows}: {word} '
      f'{ours:.3f} against {best:.3f}, a difference of {best - ours:.3f}{interval}.'
    ),
  }
