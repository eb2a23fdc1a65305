"""Computes where rankings put the right candidate, one example after another.

Each score is from 0 to 1 and has a value for every example, so that intervals can be
bootstrapped over users. Candidates with the same value are in no order: an example's
score is then the mean over all orders of them. So equal values for all candidates score
what random ones are expected to.
"""

from collections.abc import Callable

import numpy as np

RECALLED = (1, 5, 10)
WORDS = {f'recall_at_{k}': f'recall@{k}' for k in RECALLED}
WORDS |= {'ndcg_at_10': 'NDCG@10', 'mrr': 'MRR'}
_CUT = 10  # of NDCG


def rank_scores(values: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
  """Scores the ranking of each example.

  Args:
    values: [E, C] float, the higher the better; nan where there is no candidate.
    truth: [E] int, number of the right candidate.

  Returns:
    The scores of WORDS, each [E] float64: 'recall_at_k', whether the right candidate is
    among the first k; 'ndcg_at_10', 1 / log2(1 + rank) if the rank is at most 10
    (Järvelin and Kekäläinen 2002, doi 10.1145/582415.582418, with one right candidate);
    'mrr', 1 / rank.
  """
  own = np.take_along_axis(values, truth[:, None], axis=1)
  before = (values > own).sum(axis=1)
  tied = np.maximum((values == own).sum(axis=1), 1)  # with the right one itself
  rank = np.arange(1, values.shape[1] + 1)
  mean = lambda of_rank: _mean_over(of_rank, before, tied)
  found = {f'recall_at_{k}': mean(rank <= k) for k in RECALLED}
  found['ndcg_at_10'] = mean((rank <= _CUT) / np.log2(1 + rank))
  return found | {'mrr': mean(1 / rank)}


def _mean_over(of_rank: np.ndarray, before: np.ndarray, tied: np.ndarray):
  """Returns the means [E] of a score of ranks [C] over `tied` ranks after `before`."""
  total = np.concatenate([[0.0], np.cumsum(of_rank)])
  return (total[before + tied] - total[before]) / tied


def padded_values(
  candidates: list[np.ndarray], value: Callable[[int, np.ndarray], np.ndarray]
) -> np.ndarray:
  """Returns values [E, C] of the candidates of E examples, nan for padding.

  Args:
    candidates: items of each example's candidates.
    value: function (number of the example, its candidates) -> their values.
  """
  most = max(map(len, candidates), default=0)
  found = np.full((len(candidates), most), np.nan)
  for at, items in enumerate(candidates):
    found[at, : len(items)] = value(at, items)
  return found
