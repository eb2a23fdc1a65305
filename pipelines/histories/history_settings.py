"""Holds the settings of the histories job that decide the contents of a history."""

import dataclasses

from pipelines.histories.cutoff import Cutoff
from tasks.labels import LabelRule


@dataclasses.dataclass(frozen=True)
class HistorySettings:
  """Holds the settings that decide the contents of a history.

  Attributes:
    sampler: a name in `samplers.SAMPLERS`.
    max_history: largest number of interactions in a history.
    min_history: smallest number of ratings; users with fewer are dropped.
    seed: seed of the random samplers.
    rule: the label rule.
    cutoff: cut between history and label; None: labels from the whole history.
    ranks: whether the order of the rows stands for times, see `clean.read_timeline`.
  """

  sampler: str
  max_history: int
  min_history: int
  seed: int
  rule: LabelRule
  cutoff: Cutoff | None = None
  ranks: bool = False
