"""Scores of rankings, against all orders of what is tied, and against scikit-learn."""

import itertools

import numpy as np
from sklearn import metrics

from tasks.rank_metrics import RECALLED, padded_values, rank_scores


def in_every_order(values, right):
  """Mean scores over the orders of the candidates that the values allow."""
  found = []
  for order in itertools.permutations(range(len(values))):
    ranked = [values[at] for at in order]
    if ranked == sorted(values, reverse=True):
      rank = order.index(right) + 1
      ndcg = 1 / np.log2(1 + rank) if rank <= 10 else 0.0
      found.append([*(float(rank <= k) for k in RECALLED), ndcg, 1 / rank])
  return np.mean(found, axis=0)


def test_ties_are_the_mean_over_all_orders():
  rng = np.random.default_rng(0)
  values, truth = rng.integers(0, 3, (30, 6)).astype(float), rng.integers(0, 6, 30)
  found = np.stack([*rank_scores(values, truth).values()], axis=1)
  expected = [
    in_every_order(row.tolist(), at) for row, at in zip(values, truth, strict=True)
  ]
  np.testing.assert_allclose(found, expected)


def test_scores_equal_scikit_learn():
  rng = np.random.default_rng(1)
  values, truth = rng.random((40, 15)), rng.integers(0, 15, 40)
  found, right = rank_scores(values, truth), np.eye(15)[truth]
  each = [
    metrics.ndcg_score([a], [b], k=10) for a, b in zip(right, values, strict=True)
  ]
  np.testing.assert_allclose(found['ndcg_at_10'], each)
  mrr = metrics.label_ranking_average_precision_score(right, values)
  np.testing.assert_allclose(found['mrr'].mean(), mrr)
  for k in RECALLED:
    share = metrics.top_k_accuracy_score(truth, values, k=k, labels=range(15))
    np.testing.assert_allclose(found[f'recall_at_{k}'].mean(), share)


def test_padding_is_no_candidate():
  values = padded_values([np.arange(4), np.arange(2)], lambda _, items: 0.0 * items)
  assert np.isnan(values[1, 2:]).all()
  found = rank_scores(values, np.array([3, 0]))
  assert found['recall_at_1'].tolist() == [0.25, 0.5]
  assert found['recall_at_5'].tolist() == [1.0, 1.0]
  nothing = rank_scores(padded_values([], lambda _, items: items), np.zeros(0, int))
  assert all(not len(x) for x in nothing.values())
