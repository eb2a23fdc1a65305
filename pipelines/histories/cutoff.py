"""Labels from the future: where a user's ratings are cut in time.

Histories hold what lies strictly before the cut, labels come from what lies strictly
after it; a rating of the very second of the cut is neither.
"""

import dataclasses

import numpy as np

from pipelines.events.text_rows import iso_seconds
from pipelines.histories.clean import RatingColumns

_EXPECTED = (
  'a share between 0 and 1, seconds since 1970, or a date such as 2015-01-31 (UTC)'
)


@dataclasses.dataclass(frozen=True)
class Cutoff:
  """A cut at one time for all users, or behind a share of each user's ratings.

  Attributes:
    time: seconds since 1970, or None.
    fraction: between 0 and 1, or None.
  """

  time: int | None = None
  fraction: float | None = None

  @classmethod
  def parse(cls, text: str) -> 'Cutoff':
    """Reads a share, a number of seconds or a date.

    Raises:
      ValueError: the text is none of them.
    """
    try:
      number = float(text)
    except ValueError:
      return cls(time=_seconds(text))
    if 0 < number < 1:
      return cls(fraction=number)
    if not (number >= 1 and number.is_integer()):
      raise ValueError(f'label_cutoff={text}: expected {_EXPECTED}')
    return cls(time=int(number))

  def sides(
    self, rows: RatingColumns, starts: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Divides ratings.

    With a fraction f, a user's oldest floor(f n) of n ratings lie before the cut; if
    it falls between two ratings of the same second, all of that second are neither.

    Args:
      rows: [n] in the order of users, newest first.
      starts: [U + 1] where each user's rows begin; no user is without rows.

    Returns:
      [n] bool, history; [n] bool, label.
    """
    if self.time is not None:
      return rows.timestamp < self.time, rows.timestamp > self.time
    length, end = np.diff(starts), starts[1:]
    before = np.floor(self.fraction * length + 1e-9).astype(np.int64)
    first_label = rows.timestamp[end - before - 1]
    last_history = rows.timestamp[np.minimum(end - before, end - 1)]
    # Twice the time in the middle, so that it stays whole.
    cut = np.where(before > 0, first_label + last_history, 2 * first_label - 1)
    cut = np.repeat(cut, length)
    return 2 * rows.timestamp < cut, 2 * rows.timestamp > cut


def _seconds(text):
  try:
    return int(iso_seconds(text))
  except ValueError:
    raise ValueError(f'label_cutoff={text!r}: expected {_EXPECTED}') from None
