"""The difference over both data sets, against a computation of its own."""

import numpy as np
from sklearn.metrics import f1_score

from benchmarks import above_probe


def test_the_difference_of_both_is_the_mean_over_their_users(monkeypatch):
  monkeypatch.setattr(above_probe, '_DRAWS', 50)
  rng = np.random.default_rng(0)
  names = ('truth', 'draft', 'linear_probe')
  runs = {
    name: [{x: rng.random((size, 6)) < 0.4 for x in names} for _ in range(2)]
    for name, size in {'a': 30, 'b': 10}.items()
  }
  told = above_probe.compare(runs, 'draft')
  expected = {}
  for name, of_seeds in runs.items():
    f1 = lambda run, method: f1_score(run['truth'], run[method], average='weighted')
    pairs = [(f1(run, 'draft'), f1(run, 'linear_probe')) for run in of_seeds]
    expected[name] = np.mean([one - other for one, other in pairs])
    np.testing.assert_allclose(told[name]['difference'], expected[name])
  both = (30 * expected['a'] + 10 * expected['b']) / 40
  np.testing.assert_allclose(told['both']['difference'], both)
  mean = (expected['a'] + expected['b']) / 2
  np.testing.assert_allclose(told['sets']['difference'], mean)
  low, high = told['both']['interval']
  assert low < both < high
  same = {
    name: [x | {'draft': x['linear_probe']} for x in y] for name, y in runs.items()
  }
  assert above_probe.compare(same, 'draft')['both']['interval'] == [0.0, 0.0]
