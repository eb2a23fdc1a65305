"""Counts the examples of a question."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.examples.answer_rule import NO_ANSWER
from pipelines.examples.example_plan import ExamplePlan
from pipelines.histories.history_statistics import Lengths
from tasks import schema


@dataclasses.dataclass(frozen=True)
class ExampleStatistics:
  """Holds the counts of a shard's examples.

  Attributes:
    examples: name of a split -> number of examples.
    answers: name of a split -> option -> number of examples; '' for no answer.
    dropped: number of rows that each rule dropped.
    from_events: number of examples that stem from events: kept and dropped ones.
    not_found: number of drawn items that could not be found.
    users: number of users with examples.
    longest: number of examples of the user with the most.
    ties: number of examples with other events in their second, which no history has.
    events_left_out: number of these events.
    item_known: number of examples whose item is in their sampled history.
    lengths: lengths of the histories before sampling.
    sampled: lengths of the histories as they are written.
  """

  examples: dict[str, int]
  answers: dict[str, dict[str, int]]
  dropped: dict[str, int]
  from_events: int
  not_found: int
  users: int
  longest: int
  ties: int
  events_left_out: int
  item_known: int
  lengths: Lengths
  sampled: Lengths


def count_examples(
  timeline,
  asked,
  found,
  splits: np.ndarray,
  plan: ExamplePlan,
  dropped: dict[str, int],
  not_found: int = 0,
) -> ExampleStatistics:
  """Counts the examples of a shard.

  Args:
    timeline: `clean.Timeline` of the shard.
    asked: `held_out.Asked` examples.
    found: their `ExampleHistories`.
    splits: [n] positions in schema.SPLITS.
    plan: plan of the question.
    dropped: number of rows that each rule dropped.
    not_found: number of drawn items that could not be found.
  """
  lengths = np.diff(found.splits)
  same = timeline.rows.item[found.rows] == np.repeat(asked.item, lengths)
  example = np.repeat(np.arange(len(lengths)), lengths)
  named = {**dict(enumerate(plan.options)), NO_ANSWER: ''}
  of_users = np.bincount(asked.user) if len(asked.user) else np.zeros(1, int)
  examples, answers = {}, {}
  for number, split in enumerate(schema.SPLITS):
    counted = Counter(asked.answer[splits == number].tolist())
    examples[split] = counted.total()
    answers[split] = {name: counted[x] for x, name in named.items() if counted[x]}
  distribution = lambda values: Lengths(*np.unique(values, return_counts=True))
  return ExampleStatistics(
    examples,
    answers,
    dropped,
    0 if plan.from_files else len(lengths) + sum(dropped.values()),
    not_found,
    int(np.count_nonzero(of_users)),
    int(of_users.max()),
    int(np.count_nonzero(found.ties)),
    int(found.ties.sum()),
    len(np.unique(example[same])),
    distribution(found.totals),
    distribution(lengths),
  )


def summarize_all_examples(
  asked: Mapping[str, Sequence[ExampleStatistics]],
) -> dict[str, Any]:
  """Returns {'examples': {question: its statistics}}; {} without questions."""
  found = {name: summarize_examples(shards) for name, shards in asked.items()}
  return {'examples': found} if found else {}


def summarize_examples(shards: Sequence[ExampleStatistics]) -> dict[str, Any]:
  """Returns the statistics of a question's examples, as JSON types."""
  total = lambda name: sum(getattr(shard, name) for shard in shards)
  merge = lambda name: Lengths.merge(getattr(x, name) for x in shards).quantiles()
  answers = {}
  for split in schema.SPLITS:
    counted: Counter = Counter()
    for shard in shards:
      counted.update(shard.answers[split])
    answers[split] = dict(counted)
  return {
    'answers': answers,
    'negatives_not_found': total('not_found'),
    'users': total('users'),
    'most_of_a_user': max((shard.longest for shard in shards), default=0),
    'examples_with_ties': total('ties'),
    'events_left_out': total('events_left_out'),
    'examples_about_a_known_item': total('item_known'),
    'history_length': merge('lengths') if shards else {},
    'sampled_length': merge('sampled') if shards else {},
  }
