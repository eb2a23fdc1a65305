"""Cuts a user's ratings in time, for labels from the future.

Ratings before the cut form the history, ratings after it form the label. A rating in
the second of the cut belongs to neither.
"""

import dataclasses

import numpy as np

from pipelines.events.column_values import iso_seconds
from pipelines.histories.clean import RatingColumns

_EXPECTED = (
  'a share between 0 and 1, seconds since 1970, or a date such as 2015-01-31 (UTC)'
)


@dataclasses.dataclass(frozen=True)
class Cutoff:
  """Describes a cut: one time for all users, or a share of each user's ratings.

  Attributes:
    time: time of the cut, seconds since 1970, or None.
    fraction: share of each user's ratings before the cut, between 0 and 1, or None.
  """

  time: int | None = None
  fraction: float | None = None

  @classmethod
  def parse(cls, text: str) -> 'Cutoff':
    """Reads a share, a number of seconds or a date.

    Raises:
      ValueError: the text has none of these forms.
    """
    try:
      number = float(text)
    except ValueError:
      return cls(time=_seconds(text))
    if 0 < number < 1:
      return cls(fraction=number)
    if not (number >= 1 and number.is_integer()):
      raise ValueError(f'{text!r}: expected {_EXPECTED}')
    return cls(time=int(number))

  def sides(
    self, rows: RatingColumns, starts: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Divides ratings into those of the history and those of the label.

    With a fraction f, the oldest floor(f n) of a user's n ratings lie before the cut.
    If the cut falls between two ratings of the same second, no rating of that second
    is used.

    Args:
      rows: n ratings, sorted by user, newest first.
      starts: [U + 1] where each user's rows begin; every user has rows.

    Returns:
      [n] bool, ratings of the history; [n] bool, ratings of the label.
    """
    if self.time is not None:
      return rows.timestamp < self.time, rows.timestamp > self.time
    length, end = np.diff(starts), starts[1:]
    before = np.floor(self.fraction * length + 1e-9).astype(np.int64)
    first_label = rows.timestamp[end - before - 1]
    last_history = rows.timestamp[np.minimum(end - before, end - 1)]
    # Twice the time in the middle: an integer.
    cut = np.where(before > 0, first_label + last_history, 2 * first_label - 1)
    cut = np.repeat(cut, length)
    return 2 * rows.timestamp < cut, 2 * rows.timestamp > cut


def _seconds(text):
  try:
    return int(iso_seconds(text))
  except ValueError:
    raise ValueError(f'{text!r}: expected {_EXPECTED}') from None
