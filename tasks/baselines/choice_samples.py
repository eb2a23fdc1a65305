"""Examples of a choice as the baselines see them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class ChoiceSamples(NamedTuple):
  """Holds E examples of a question with O options.

  Attributes:
    example_ids: E names.
    user_ids: name of each example's user.
    asked: [E] int row of the item table that the example asks about; -1 for none.
    answers: [E] int number of the right option; -1 if it is not known.
    items: row numbers [n] int of the items in each example's history.
    values: values [n] float of these items, such as stars.
  """

  example_ids: Sequence[str]
  user_ids: Sequence[str]
  asked: np.ndarray
  answers: np.ndarray
  items: Sequence[np.ndarray]
  values: Sequence[np.ndarray]

  @property
  def names(self) -> list[tuple[str, str]]:
    """Returns what identifies each example: its user and its id."""
    return [*zip(self.user_ids, self.example_ids, strict=True)]

  def take(self, rows: np.ndarray) -> 'ChoiceSamples':
    """Returns some of the examples; `rows` are numbers or [E] bool."""
    rows = np.arange(len(self.asked))[rows]
    pick = lambda values: [values[row] for row in rows.tolist()]
    return ChoiceSamples(
      pick(self.example_ids),
      pick(self.user_ids),
      self.asked[rows],
      self.answers[rows],
      pick(self.items),
      pick(self.values),
    )

  def without(self, others: 'ChoiceSamples') -> 'ChoiceSamples':
    """Returns the examples that have an answer and are not among others."""
    known = {*others.names}
    rest = np.array([x not in known for x in self.names], bool)
    return self.take(rest & (self.answers >= 0))


class ChosenProbabilities(NamedTuple):
  """Holds probabilities of options and the settings that they were made with.

  Attributes:
    probabilities: [E, O] float64; rows have the sum 1.
    settings: value of each setting.
  """

  probabilities: np.ndarray
  settings: Mapping[str, float] = {}


def mean_log_loss(answers: np.ndarray, probabilities: np.ndarray) -> float:
  """Computes the mean of -ln p of the right options, by which settings are chosen.

  Args:
    answers: [E] int number of the right option; -1 where it is not known.
    probabilities: [E, O] float.
  """
  known = np.flatnonzero(answers >= 0)
  told = probabilities[known, answers[known]]
  return float(-np.log(told.clip(1e-6)).mean()) if len(known) else 0.0
