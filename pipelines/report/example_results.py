"""The results of a run that answered examples."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.predictions.prediction_files import read_predictions
from pipelines.report.asked_examples import (
  ReadExamples,
  example_name,
  read_asked_examples,
)
from tasks.answers.example_question import ExampleQuestion
from tasks.prompt_texts import PromptTexts


class ExampleCoverage(NamedTuple):
  """Counts the examples of the split that the scores are of.

  Attributes:
    examples_scored: examples with a prediction and a known answer.
    examples_without_answer: examples with a prediction alone.
    examples_in_split: examples of the split.
    rejects: examples that the predictions job rejected, by its own count.
    users_scored: users with an example that is scored.
    users_in_split: users with an example that was answered.
  """

  examples_scored: int
  examples_without_answer: int
  examples_in_split: int
  rejects: int
  users_scored: int
  users_in_split: int


class AnsweredExamples(NamedTuple):
  """Holds the E examples that are scored, and their rows of the table.

  Attributes:
    examples: the examples.
    users: [E] int, number of each example's user.
    coverage: numbers of examples.
    rows: each example's row of the prediction table.
    predictions: `run_info.json`.
  """

  examples: ReadExamples
  users: np.ndarray
  coverage: ExampleCoverage
  rows: Sequence[Mapping[str, Any]]
  predictions: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class ExampleResults:
  """Holds what the pages of all questions about examples show.

  Attributes:
    question: words of the question.
    answered: the examples that are scored.
    methods: scores of each method, as in `metrics.json`.
    better_baseline: the best method without a language model, as in `metrics.json`;
      None if the model scores as high.
    prompts: writes the prompts of examples.
    titles: title of each item of the item table.
    info: `dataset_info.json`.
    split: name of the examples' split.
    run: `run` of `metrics.json`.
    training: text of `metrics.jsonl` and `config.gin`, as far as they are there.
  """

  question: ExampleQuestion
  answered: AnsweredExamples
  methods: Mapping[str, Mapping[str, Any]]
  better_baseline: Mapping[str, Any] | None
  prompts: PromptTexts
  titles: Sequence[str]
  info: Mapping[str, Any]
  split: str
  run: Mapping[str, Any]
  training: Mapping[str, str]

  @property
  def coverage(self) -> ExampleCoverage:
    """Returns the numbers of examples."""
    return self.answered.coverage

  @property
  def predictions(self) -> Mapping[str, Any]:
    """Returns `run_info.json` of the predictions."""
    return self.answered.predictions


def read_answered_examples(
  question: ExampleQuestion,
  histories_dir: str,
  predictions_dir: str,
  predicted: Mapping[str, Any],
) -> AnsweredExamples:
  """Reads the examples of the split of a prediction table that have an answer.

  Args:
    question: words of the question.
    histories_dir: finished folder of the histories.
    predictions_dir: finished folder of the predictions.
    predicted: settings in `COMPLETED` of the predictions.

  Raises:
    JobError: an example has no prediction and was not rejected, or none has an answer.
  """
  split, kind = predicted['split'], predicted['format']
  table = read_predictions(predictions_dir, kind)
  by_id = {example_name(row): row for row in table if row['task'] == question.name}
  predictions = storage.read_json(f'{predictions_dir}/run_info.json')
  read = read_asked_examples(histories_dir, question, split, by_id)
  coverage = cover_examples(read, predictions.get('rejects', 0))
  examples = read.take(read.samples.answers >= 0)
  if not coverage.examples_scored:
    raise JobError(
      f'{histories_dir}: none of the {coverage.examples_without_answer:,} answered '
      f'examples of the split {split} has an answer in the data, so there is nothing '
      'to score: answer a split whose examples have one'
    )
  rows = [by_id[name] for name in examples.samples.names]
  users = np.unique(examples.samples.user_ids, return_inverse=True)[1]
  return AnsweredExamples(examples, users, coverage, rows, predictions)


def cover_examples(examples: ReadExamples, rejects: int) -> ExampleCoverage:
  """Compares the examples without a prediction with the rejects.

  Raises:
    JobError: nothing has a prediction, or more examples have none than were rejected.
  """
  samples, missing = examples.samples, examples.left_out
  total = len(samples.asked) + len(missing)
  if len(missing) > rejects or (missing and not len(samples.asked)):
    raise JobError(
      f'{len(missing)} of {total} examples have no prediction, such as '
      f'{missing[0]!r}; {rejects} were rejected: were the predictions made from these '
      'histories?'
    )
  known = (samples.answers >= 0).tolist()
  scored = {user for user, has in zip(samples.user_ids, known, strict=True) if has}
  return ExampleCoverage(
    examples_scored=sum(known),
    examples_without_answer=len(known) - sum(known),
    examples_in_split=total,
    rejects=rejects,
    users_scored=len(scored),
    users_in_split=len({*samples.user_ids}),
  )
