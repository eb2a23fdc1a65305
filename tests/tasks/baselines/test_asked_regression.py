"""The regression on history and asked item, against scikit-learn."""

import numpy as np
import pytest

from tasks.baselines import (
  ChoiceSamples,
  UserSamples,
  asked_regression,
  pair_columns,
  pool_users,
  shorten_vectors,
  standardize_columns,
)

RNG = np.random.default_rng(0)
ITEMS, WIDTH = 40, 5
VECTORS = RNG.normal(size=(ITEMS, WIDTH)).astype(np.float32)


def draw(count: int, seed: int, prefix: str, options: int = 2) -> ChoiceSamples:
  """Examples whose answer tells whether the asked book is like those of the history."""
  rng = np.random.default_rng(seed)
  items = [rng.permutation(ITEMS)[: rng.integers(0, 5)] for _ in range(count)]
  values = [rng.integers(1, 6, len(x)).astype(np.float32) for x in items]
  asked = rng.integers(0, ITEMS, count)
  near = [
    VECTORS[x].mean(axis=0) @ VECTORS[y] if len(x) else 0.0
    for x, y in zip(items, asked, strict=True)
  ]
  cuts = np.quantile(near, np.arange(1, options) / options) if count else []
  names = [f'{prefix}{x}' for x in range(count)]
  return ChoiceSamples(names, names, asked, np.searchsorted(cuts, near), items, values)


TRAIN, VALIDATION, NEW = draw(300, 0, 't'), draw(100, 1, 'v'), draw(80, 2, 'n')
NOBODY = draw(0, 0, 'x')


def test_shortened_vectors_equal_scikit_learn():
  library = pytest.importorskip('sklearn.decomposition')
  found = shorten_vectors(VECTORS, 3)
  wanted = library.PCA(3, svd_solver='full').fit_transform(VECTORS.astype(float))
  np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-5)
  gaps = np.vstack([VECTORS, np.full((1, WIDTH), np.nan)])
  with_gap = shorten_vectors(gaps, 3)
  np.testing.assert_allclose(np.abs(with_gap[:-1]), np.abs(found), atol=1e-5)
  assert not with_gap[-1].any()
  assert shorten_vectors(VECTORS[:0]).shape == (0, WIDTH)


def test_columns_by_hand():
  some = TRAIN.take(np.arange(3))._replace(asked=np.array([4, -1, 7]))
  found = pair_columns(VECTORS, some)
  pooled = pool_users(VECTORS, UserSamples(some.items, some.values, np.zeros((3, 0))))
  for row, asked in ((0, 4), (2, 7)):
    mean, weighted = pooled[row, :WIDTH], pooled[row, WIDTH : 2 * WIDTH]
    parts = [pooled[row], VECTORS[asked], mean * VECTORS[asked]]
    parts += [weighted * VECTORS[asked], [mean @ VECTORS[asked]]]
    parts += [[weighted @ VECTORS[asked]]]
    np.testing.assert_allclose(found[row], np.concatenate(parts), atol=1e-6)
  assert not found[1, len(pooled[1]) :].any()


def test_answers_equal_scikit_learn():
  library = pytest.importorskip('sklearn.linear_model')
  found = asked_regression(VECTORS, TRAIN, VALIDATION, NEW, 2)
  short = shorten_vectors(VECTORS)
  columns = [pair_columns(short, x) for x in (TRAIN, NEW)]
  own, asked = standardize_columns(*columns)
  penalty = found.settings['penalty'] * own.shape[1]
  model = library.LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=10_000)
  model.fit(own, TRAIN.answers)
  wanted = model.predict_proba(asked)
  np.testing.assert_allclose(found.probabilities, wanted, atol=1e-3)
  right = (found.probabilities.argmax(axis=1) == NEW.answers).mean()
  assert right > 0.8


def test_more_options_and_no_validation():
  train, new = draw(400, 5, 't', 3), draw(90, 6, 'n', 3)
  found = asked_regression(VECTORS, train, NOBODY, new, 3)
  assert found.settings == {'penalty': 0.1}
  np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
  assert (found.probabilities.argmax(axis=1) == new.answers).mean() > 0.5


def test_answers_of_the_asked_examples_are_not_read():
  blind = NEW._replace(answers=1 - NEW.answers)
  made = [asked_regression(VECTORS, TRAIN, VALIDATION, x, 2) for x in (NEW, blind)]
  np.testing.assert_array_equal(made[0].probabilities, made[1].probabilities)
  assert asked_regression(VECTORS, TRAIN, VALIDATION, TRAIN, 2) is None
  assert asked_regression(VECTORS, NOBODY, VALIDATION, NEW, 2) is None


@pytest.mark.filterwarnings('error')
def test_an_option_that_is_always_right():
  always = TRAIN._replace(answers=np.zeros(300, int))
  found = asked_regression(VECTORS, always, NOBODY, NEW, 2).probabilities
  assert (found[:, 0] > 0.999).all()
  assert np.isfinite(found).all()
