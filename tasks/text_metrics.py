"""Compares written texts with those of the data, one by one.

Each score is from 0 to 1 and has a value for every example, so that intervals can be
bootstrapped over users, and the gain of a user be told.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

# Scripts without spaces between words: each of their signs counts as one.
_SIGNS = '\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff'
_WORD = re.compile(f'[{_SIGNS}]|[^\\W{_SIGNS}]+')
WORDS = {'rouge_l': 'ROUGE-L', 'chrf': 'chrF', 'exact_match': 'exact match'}


def compare_texts(
  truth: Sequence[str], written: Sequence[str]
) -> dict[str, np.ndarray]:
  """Scores each written text.

  Args:
    truth: E texts of the data.
    written: E texts; '' for none.

  Returns:
    Each [E] float64: 'rouge_l', the F-measure of the longest common subsequence of
    words, without their case (Lin 2004, aclanthology.org/W04-1013), by the library
    rouge-score; 'chrf', the F-measure of groups of one to six letters (Popović 2015,
    doi 10.18653/v1/W15-3049), by the library sacrebleu; 'exact_match', 1 for the same
    text.
  """
  from rouge_score import rouge_scorer
  from sacrebleu import CHRF

  # The library's own words are of the letters a to z only.
  rouge = rouge_scorer.RougeScorer(['rougeL'], tokenizer=_Words())
  chrf = CHRF()
  # Many users can have the same two texts.
  known: dict[tuple[str, str], tuple[float, float, float]] = {}
  pairs = [*zip(truth, written, strict=True)]
  for wanted, own in dict.fromkeys(pairs):
    known[wanted, own] = (
      rouge.score(wanted, own)['rougeL'].fmeasure,
      chrf.sentence_score(own, [wanted]).score / 100,
      float(wanted == own),
    )
  columns = np.array([known[pair] for pair in pairs], float).reshape(-1, len(WORDS))
  return dict(zip(WORDS, columns.T, strict=True))


class _Words:
  """Divides texts of any script into words, for rouge-score."""

  def tokenize(self, text: str) -> list[str]:
    """Returns the words; the whole text if it has none, such as a sign."""
    text = text.lower().strip()
    return _WORD.findall(text) or [text] * bool(text)


def user_means(values: np.ndarray, users: np.ndarray) -> np.ndarray:
  """Returns the mean [U] of values [E] over the examples of each user [E], from 0."""
  return np.bincount(users, values) / np.bincount(users)


def swapped_scores(
  truth: Sequence[str],
  written: Sequence[str],
  users: np.ndarray,
  rolls: int = 5,
  seed: int = 0,
) -> Mapping[str, np.ndarray]:
  """Scores the texts that other users got: a control.

  The users stand in a circle, in random order; a roll by r gives each example a text of
  the user r places before. A model that has learned nothing of the single user scores
  here as it does on its own texts.

  Args:
    truth: E texts of the data.
    written: E texts.
    users: [E] int number of each example's user, from 0; two users at least.
    rolls: number of rolls; fewer users than that have fewer.
    seed: seed of the order.

  Returns:
    The scores of `compare_texts`, each [E] the mean over the rolls.
  """
  number = int(users.max()) + 1
  order = np.random.default_rng(seed).permutation(number)
  before = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
  of_users = [np.flatnonzero(users == user) for user in range(number)]
  turn = np.zeros(len(users), int)  # place of an example among those of its user
  for own in of_users:
    turn[own] = np.arange(len(own))
  found, others = [], users
  for _ in range(min(rolls, number - 1)):
    others = np.array([before[user] for user in others.tolist()])
    rows = [
      of_users[user][at % len(of_users[user])]
      for user, at in zip(others.tolist(), turn.tolist(), strict=True)
    ]
    found.append(compare_texts(truth, [written[row] for row in rows]))
  return {name: np.mean([x[name] for x in found], axis=0) for name in WORDS}
