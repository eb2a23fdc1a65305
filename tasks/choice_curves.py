"""Compares probabilities of options with what was right: calibration and ROC curve."""

from typing import NamedTuple

import numpy as np

BINS = 10  # of the calibration, of equal width


class CalibrationBin(NamedTuple):
  """Holds the examples whose probability is in [low, high).

  Attributes:
    low: lower end of the bin.
    high: upper end; the last bin includes it.
    examples: number of examples.
    probability: their mean probability.
    share: share of them for which the option is right.
  """

  low: float
  high: float
  examples: int
  probability: float
  share: float


def calibration_bins(
  truth: np.ndarray, probabilities: np.ndarray
) -> list[CalibrationBin]:
  """Compares probabilities with shares in BINS bins of equal width; empty ones lack.

  Args:
    truth: [E] int, number of the right option.
    probabilities: [E, O] float. Of two options the first one's probabilities are
      compared, of more those of the most probable option of each example.
  """
  binary = probabilities.shape[1] == 2
  option = np.zeros(len(truth), int) if binary else probabilities.argmax(axis=1)
  told, right = probabilities[np.arange(len(truth)), option], truth == option
  place = np.minimum((told * BINS).astype(int), BINS - 1)
  return [
    CalibrationBin(
      at / BINS,
      (at + 1) / BINS,
      int(own.sum()),
      float(told[own].mean()),
      float(right[own].mean()),
    )
    for at in range(BINS)
    if (own := place == at).any()
  ]


def calibration_error(bins: list[CalibrationBin]) -> float:
  """Computes the expected calibration error (Guo et al. 2017, arXiv 1706.04599).

  It is the mean of |probability - share| over the bins, weighted by their examples;
  nan without bins.
  """
  total = sum(x.examples for x in bins)
  apart = sum(x.examples * abs(x.probability - x.share) for x in bins)
  return apart / total if total else float('nan')


def roc_points(
  positive: np.ndarray, values: np.ndarray, at_most: int = 200
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the ROC curve of a value that shall be high for positive examples.

  Args:
    positive: [E] bool, some true and some false.
    values: [E] float.
    at_most: number of points above which only some of them are returned, evenly spread.

  Returns:
    (share of the negative, share of the positive examples with a value of at least a
    threshold), both [P] float64 from 0 to 1 and ascending.
  """
  order = np.argsort(-values, kind='stable')
  last = np.flatnonzero(np.diff(values[order], append=np.nan))  # of equal values
  right, wrong = (np.cumsum(x[order])[last] for x in (positive, ~positive))
  points = np.stack([wrong / max(wrong[-1], 1), right / max(right[-1], 1)])
  points = np.hstack([np.zeros((2, 1)), points])
  kept = np.linspace(0, points.shape[1] - 1, min(at_most, points.shape[1]))
  x, y = points[:, np.round(kept).astype(int)]
  return x, y
