"""Settings of the histories job that decide what a history looks like."""

import dataclasses

from pipelines.histories.cutoff import Cutoff
from tasks.labels import LabelRule


@dataclasses.dataclass(frozen=True)
class HistorySettings:
  """What a history looks like.

  Attributes:
    sampler: a name in `sample.SAMPLERS`.
    max_history: the most interactions that are kept.
    min_history: users with fewer are dropped.
    seed: of samplers that draw.
    rule: the label rule.
    cutoff: where labels come from the future; None: from the whole history.
  """

  sampler: str
  max_history: int
  min_history: int
  seed: int
  rule: LabelRule
  cutoff: Cutoff | None = None
