"""Scores of texts against longest common subsequences and n-grams counted by hand."""

from collections import Counter

import numpy as np
import pytest

from tasks import text_metrics

TRUTH = ['magical wars', 'ancient lives and wars', 'tasty kitchens', 'tasty kitchens']
WRITTEN = ['Magical wars', 'ancient wars of lives', '', 'tasty kitchens']


def rouge_by_hand(wanted, own):
  first, second = wanted.lower().split(), own.lower().split()
  longest = np.zeros((len(first) + 1, len(second) + 1), int)
  for i, x in enumerate(first):
    for j, y in enumerate(second):
      same = longest[i, j] + 1 if x == y else 0
      longest[i + 1, j + 1] = max(same, longest[i, j + 1], longest[i + 1, j])
  return 2 * longest[-1, -1] / (len(first) + len(second))


def chrf_by_hand(wanted, own, beta=2):
  """Mean precision and recall over orders that both texts have, without spaces."""
  grams = lambda text, n: Counter(text[i : i + n] for i in range(len(text) - n + 1))
  first, second = wanted.replace(' ', ''), own.replace(' ', '')
  pairs = []
  for n in range(1, 7):
    a, b = grams(first, n), grams(second, n)
    if a and b:
      hits = (a & b).total()
      pairs.append((hits / b.total(), hits / a.total()))
  precision, recall = np.mean(pairs, axis=0) if pairs else (0, 0)
  below = beta**2 * precision + recall
  return (1 + beta**2) * precision * recall / below if below else 0


def test_scores_by_hand():
  found = text_metrics.compare_texts(TRUTH, WRITTEN)
  pairs = [*zip(TRUTH, WRITTEN, strict=True)]
  assert found['rouge_l'] == pytest.approx([rouge_by_hand(*x) for x in pairs])
  assert found['chrf'] == pytest.approx([chrf_by_hand(*x) for x in pairs], abs=1e-6)
  assert found['exact_match'].tolist() == [0, 0, 0, 1]
  assert all(len(x) == 0 for x in text_metrics.compare_texts([], []).values())


def test_means_of_users():
  users, values = np.array([1, 0, 1]), np.array([1.0, 0.5, 0.0])
  assert text_metrics.user_means(values, users).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
  ('wanted', 'own', 'score'),
  [
    ('война и мир', 'Война, мир', 4 / 5),
    ('Müller größer', 'müller GRÖSSER', 1 / 2),  # ß is no ss
    ('戦争と平和', '戦争', 4 / 7),
    ('🙂', '🙂', 1),
    ('🙂', '🙁', 0),
  ],
)
def test_words_of_any_script(wanted, own, score):
  found = text_metrics.compare_texts([wanted], [own])['rouge_l']
  assert found == pytest.approx(score)


def test_nobody_gets_a_text_of_their_own():
  users = np.array([0, 0, 0, 1, 1, 2])
  truth = [f'word{x}' for x in users]
  found = text_metrics.swapped_scores(truth, truth, users)
  assert found['exact_match'].tolist() == [0] * 6
  # Of two users each gets the other's texts, in their order.
  users, truth = np.array([0, 1, 0]), ['a b', 'a c d', 'e']
  found = text_metrics.swapped_scores(truth, ['a b', 'x a', 'y'], users)
  wanted = ('a b', 'x a'), ('a c d', 'a b'), ('e', 'x a')
  assert found['rouge_l'] == pytest.approx([rouge_by_hand(*x) for x in wanted])
