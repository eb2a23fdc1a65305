"""Stops a job if too many rows are rejects, with examples that show why."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.common.job import JobError

_REASONS = 3  # that a message shows
_EXAMPLES = 3  # values of each reason
_CHARACTERS = 40  # of a value


class RejectTally:
  """Counts rejects by their reasons, with some values of each."""

  def __init__(self):
    self.reasons = Counter()
    self._first, self._values = {}, {}

  def add(self, reject: Mapping[str, Any]) -> None:
    """Counts a reject, a record of `job.reject`."""
    reason, record = reject['reason'], reject['record']
    self.reasons[reason] += 1
    self._first.setdefault(reason, record)
    values = self._values.setdefault(reason, [])
    value = repr(record['value'][:_CHARACTERS])
    if record['field'] and value not in values and len(values) < _EXAMPLES:
      values.append(value)

  def counted(self) -> Counter:
    """Returns the reasons but blank lines: these hold nothing that could be lost."""
    return Counter({x: n for x, n in self.reasons.items() if x != 'blank_line'})

  def describe(self) -> str:
    """Returns the commonest reasons, each with values and what would be right."""
    shown, counted = [], self.counted()
    for reason, number in counted.most_common(_REASONS):
      first, values = self._first[reason], ', '.join(self._values[reason])
      of_field = f'{first["field"]} {values}, ' if values else ''
      where = f'first in line {first["line"]:,} of {first["file"]}'
      shown.append(
        f'{reason} {number:,} ({of_field}{where}; expected {first["expected"]})'
      )
    others = counted.total() - sum(
      number for _, number in counted.most_common(_REASONS)
    )
    return ', '.join([*shown, *([f'others {others:,}'] if others else [])])


def check_share(
  tally: RejectTally, flag: str, rows_in: int, most: float, advice: str = ''
) -> None:
  """Checks the share of rejects among the rows of a flag's files but blank lines.

  Args:
    tally: the rejects.
    flag: flag that names the files.
    rows_in: number of rows, good and bad.
    most: largest allowed share.
    advice: what else to tell, for the message.

  Raises:
    JobError: too many rows are rejects.
  """
  rejected = tally.counted().total()
  rows_in -= tally.reasons['blank_line']
  if rejected > most * rows_in:
    raise JobError(
      f'{rejected:,} of {rows_in:,} rows of --{flag} are rejects, more than '
      f'--max_reject_fraction={most:g}: {tally.describe()}{advice}; correct them, or '
      'set the flag to the share that may be lost'
    )


def check_item_shares(
  rejects: Iterable[Mapping[str, Any]], rows_in: Mapping[str, int], most: float
) -> None:
  """Checks the share of rejects of each kind of file about the items.

  Args:
    rejects: records of `job.reject`, of the stages `read_<kind>`.
    rows_in: kind of file -> number of rows.
    most: largest allowed share.

  Raises:
    JobError: too many rows of a kind are rejects.
  """
  tallies = {kind: RejectTally() for kind in rows_in}
  for record in rejects:
    tallies[record['stage'].removeprefix('read_')].add(record)
  for kind, tally in tallies.items():
    check_share(tally, kind, rows_in[kind], most)
