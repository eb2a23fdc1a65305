"""Measures rows in turns, in one process."""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence


def in_turns(
  rows: Mapping[str, Callable[[], float]], repeats: int
) -> dict[str, list[float]]:
  """Calls each row `repeats` times, in turns; another one begins each time.

  So a slow minute of the machine, and what a row leaves in the caches, is not always
  the loss of the same one.
  """
  names, found = list(rows), {name: [] for name in rows}
  for repeat in range(repeats):
    begin = repeat * len(names) // repeats
    for name in names[begin:] + names[:begin]:
      found[name].append(rows[name]())
      print(repeat, name, f'{found[name][-1]:.4f} s a step', file=sys.stderr)
  return found


def summary(seconds: Sequence[float], batch_size: int) -> dict:
  """Returns median and spread of the seconds of a step."""
  median = statistics.median(seconds)
  return {
    'seconds': list(seconds),
    'seconds_a_step': median,
    'spread': (max(seconds) - min(seconds)) / median,
    'examples_a_second': batch_size / median,
  }
