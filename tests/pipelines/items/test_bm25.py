"""BM25 against its formula, a word and a text at a time."""

import math

import numpy as np
import pytest

from pipelines.items import bm25

TEXTS = [
  'Heat Action Crime',
  'The Grand Budapest Hotel: comedy, crime and comedy again',
  '',
  'Action! A film of ACTION',
]


def by_hand(texts: list[list[str]], query: list[str]) -> list[float]:
  mean = sum(map(len, texts)) / len(texts)
  found = []
  for text in texts:
    score = 0.0
    for word in query:
      holding = sum(word in other for other in texts)
      idf = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
      often = text.count(word)
      norm = 1.2 * (1 - 0.75 + 0.75 * len(text) / mean)
      score += idf * often * 2.2 / (often + norm)
    found.append(score)
  return found


def test_equals_the_formula():
  words = [
    ['heat', 'action', 'crime'],
    ['the', 'grand', 'budapest', 'hotel', 'comedy', 'crime', 'and', 'comedy', 'again'],
    [],
    ['action', 'a', 'film', 'of', 'action'],
  ]
  found = bm25.bm25_scores(TEXTS, 'Comedy action, action; opera')
  assert found == pytest.approx(by_hand(words, ['comedy', 'action', 'opera']))
  assert found[0] < found[3] < found[1]


def test_nothing_to_find():
  assert bm25.bm25_scores([], 'a').shape == (0,)
  np.testing.assert_array_equal(bm25.bm25_scores(['', ''], 'a'), [0, 0])
  np.testing.assert_array_equal(bm25.bm25_scores(TEXTS, ''), [0, 0, 0, 0])
