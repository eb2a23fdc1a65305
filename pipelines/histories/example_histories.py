"""Finds the history of each example: what its user did strictly before its time."""

from typing import NamedTuple

import numpy as np

from pipelines.histories import clean
from pipelines.histories.hashing import hash_ids
from pipelines.histories.held_out import Asked
from pipelines.histories.history_settings import HistorySettings
from pipelines.histories.make_histories import SAMPLING_SEED, choose_sampler
from pipelines.histories.samplers import History
from pipelines.items.item_table import ItemFacts


class ExampleHistories(NamedTuple):
  """Holds the sampled histories of n examples.

  Attributes:
    rows: [m] int64 rows of the timeline, newest first; all histories one after another.
    splits: [n + 1] int64, history e is rows[splits[e]:splits[e + 1]].
    totals: [n] int64 lengths before sampling.
    ties: [n] int64 number of other events in the second of the example: they are in no
      history.
  """

  rows: np.ndarray
  splits: np.ndarray
  totals: np.ndarray
  ties: np.ndarray

  def take(self, chosen: np.ndarray) -> 'ExampleHistories':
    """Returns the histories of the chosen examples [n] bool."""
    lengths = np.diff(self.splits)
    splits = np.concatenate([[0], np.cumsum(lengths[chosen])])
    rows = self.rows[np.repeat(chosen, lengths)]
    return ExampleHistories(rows, splits, self.totals[chosen], self.ties[chosen])


def history_lengths(timeline: clean.Timeline, asked: Asked) -> np.ndarray:
  """Returns [n] int64, the length of each example's history before sampling."""
  starts = clean.user_starts(timeline.rows.user, len(timeline.ids))
  lengths = np.zeros(len(asked.user), np.int64)
  for place, (user, time) in enumerate(zip(asked.user, asked.time, strict=True)):
    mine = slice(starts[user], starts[user + 1])
    times, until = timeline.rows.timestamp[mine], timeline.until[mine]
    lengths[place] = np.count_nonzero((times < time) & (until >= time))
  return lengths


def find_histories(
  timeline: clean.Timeline,
  asked: Asked,
  items: ItemFacts,
  settings: HistorySettings,
) -> ExampleHistories:
  """Samples the history of each example.

  A history depends on nothing that happened at its example's time or later: a rating
  that was given again then is still the old one.

  Args:
    timeline: ratings of a shard.
    asked: examples, sorted by user.
    items: facts about the items.
    settings: settings of the histories.

  Raises:
    JobError: the sampler counts items, and there are no counts.
  """
  rows, until = timeline.rows, timeline.until
  starts = clean.user_starts(rows.user, len(timeline.ids))
  size = settings.max_history
  seeds = hash_ids(timeline.ids, settings.seed ^ SAMPLING_SEED)
  totals, ties = np.zeros((2, len(asked.user)), np.int64)
  found = []
  first = np.searchsorted(asked.user, np.arange(len(timeline.ids) + 1))
  for user in np.flatnonzero(np.diff(first)).tolist():
    start, end = starts[user], starts[user + 1]
    older = -rows.timestamp[start:end]  # ascending
    once = bool((until[start:end] == clean.EVER).all())
    mine = slice(first[user], first[user + 1])
    times = asked.time[mine]
    begins = np.searchsorted(older, -times, 'right')
    ties[mine] = begins - np.searchsorted(older, -times, 'left') - asked.own[mine]
    for place, time, begin in zip(
      range(mine.start, mine.stop), times, start + begins, strict=True
    ):
      own = np.arange(begin, end)
      if not once:
        own = own[until[begin:end] >= time]
      totals[place] = len(own)
      if len(own) > size:
        history = History(rows.item[own], rows.rating[own], rows.timestamp[own])
        select = choose_sampler(settings.sampler, items)
        own = own[select(history, items, size, int(seeds[user]))]
      found.append(own)
  lengths = [len(own) for own in found]
  splits = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
  joined = np.concatenate([np.zeros(0, np.int64), *found])
  return ExampleHistories(joined, splits, totals, ties)
