"""Checks and describes the counts of examples in an info file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.common.job import JobError
from pipelines.examples.example_plan import USERS
from pipelines.histories.example_statistics import ExampleStatistics
from tasks import schema


def count_all_examples(
  asked: Mapping[str, Sequence[ExampleStatistics]],
  rejects: Mapping[str, tuple[int, Mapping[str, int]]],
  repeated_users: int = 0,
) -> dict[str, Any]:
  """Counts the examples of each question and the rows that they come from.

  Args:
    asked: question -> statistics of each shard.
    rejects: question, or USERS -> number of rows of its files, rejects by reason.
    repeated_users: number of rows that repeat a user.

  Returns:
    JSON types: 'examples', question -> split -> number; 'example_rows', question ->
    where the examples come from and what was dropped; 'user_rows', if there are files
    of users, what became of their rows. {} without questions.
  """
  if not asked:
    return {}
  examples, rows = {}, {}
  for question, shards in asked.items():
    dropped = Counter()
    for shard in shards:
      dropped.update(shard.dropped)
    examples[question] = {
      split: sum(shard.examples[split] for shard in shards) for split in schema.SPLITS
    }
    rows_in, reasons = rejects.get(question, (0, {}))
    rows[question] = {
      'rows_in': rows_in,
      'from_events': sum(shard.from_events for shard in shards),
      'rows_rejected': sum(reasons.values()),
      'rows_rejected_by_reason': dict(reasons),
      'dropped': dict(dropped),
    }
  found = {'examples': examples, 'example_rows': rows}
  if USERS in rejects:
    rows_in, reasons = rejects[USERS]
    rejected = sum(reasons.values())
    found['user_rows'] = {
      'rows_in': rows_in,
      'rows_kept': rows_in - rejected - repeated_users,
      'rows_rejected': rejected,
      'rows_rejected_by_reason': dict(reasons),
      'dropped': {'repeated_user': repeated_users},
    }
  return found


def check_example_counts(counts: Mapping[str, Any]) -> None:
  """Checks that no example was lost, and that every question has some.

  Raises:
    JobError: an example was lost, or a question has none.
  """
  for question, rows in counts.get('example_rows', {}).items():
    kept = sum(counts['examples'][question].values())
    found = rows['rows_in'] + rows['from_events']
    if found != kept + rows['rows_rejected'] + sum(rows['dropped'].values()):
      raise JobError(f'examples of {question} were lost, which is a bug: {counts}')
    if not kept:
      raise JobError(
        f'question {question} has no examples ({_describe(question, counts)}); '
        'expected rows whose users have events before the time of the row, at least '
        'as many as history.least'
      )


def describe_examples(info: Mapping[str, Any]) -> list[str]:
  """Returns the counts of users' files and all questions' examples, as lines."""
  lines = []
  for question, about in info.get('examples', {}).items():
    counts, answers = info['counts'], Counter()
    for of_split in about['answers'].values():
      answers.update(of_split)
    named = ', '.join(f'{x or "none"} {n:,}' for x, n in answers.items())
    lines.append(
      f'question {question}: {_describe(question, counts)}; answers: {named}; '
      f'{about["events_left_out"]:,} events in the second of '
      f'{about["examples_with_ties"]:,} examples are in no history; '
      f'{about["examples_about_a_known_item"]:,} examples are about an item of their '
      'history'
    )
  if users := info['counts'].get('user_rows'):
    lines.append(f'users: {_left_out(users["rows_in"], users["rows_kept"], users)}')
  return lines


def _describe(question: str, counts: Mapping[str, Any]) -> str:
  rows, kept = counts['example_rows'][question], counts['examples'][question]
  parts = ', '.join(f'{split} {number:,}' for split, number in kept.items())
  return _left_out(rows['rows_in'] + rows['from_events'], parts, rows)


def _left_out(found: int, kept, rows: Mapping[str, Any]) -> str:
  """Returns how many rows were found and kept, and why others were left out."""
  lost = {**rows['rows_rejected_by_reason'], **rows['dropped']}
  why = ', '.join(f'{reason} {number:,}' for reason, number in lost.items() if number)
  shown = f'{kept:,} kept' if isinstance(kept, int) else kept
  return f'{found:,} found, {shown}; left out: {why or "none"}'
