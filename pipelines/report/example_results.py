"""The results of a run that answered examples, and the examples that it answered."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipelines.common import storage, tfrecord
from pipelines.common.job import JobError
from pipelines.histories import history_records
from pipelines.predictions.prediction_files import read_predictions
from tasks import schema
from tasks.answers.choice import Choice
from tasks.answers.example_question import ExampleQuestion
from tasks.baselines import ChoiceSamples
from tasks.prompt_texts import PromptTexts


class ReadExamples(NamedTuple):
  """Holds E examples of a split.

  Attributes:
    samples: the examples as the baselines see them; without options, 0 is the number
      of every answer.
    answers: answer of each in the data; '' if it is not known.
    fields: texts of each field that an example brings itself, by its name.
    totals: [E] int, length of each history before sampling.
    left_out: names of the split's other examples; the place of a record without one.
    candidates: items of each example's candidates; none but of a ranking.
  """

  samples: ChoiceSamples
  answers: Sequence[str]
  fields: Sequence[Mapping[str, Sequence[str]]]
  totals: np.ndarray
  left_out: Sequence[str]
  candidates: Sequence[np.ndarray]

  def asked_items(self, at: int) -> Sequence[int]:
    """Returns the items that the prompt of the example at a place can name."""
    return [*self.candidates[at], *(x for x in self.samples.asked[[at]] if x >= 0)]

  def take(self, rows: np.ndarray) -> 'ReadExamples':
    """Returns the examples where `rows` [E] bool is true."""
    pick = lambda values: [x for x, kept in zip(values, rows, strict=True) if kept]
    parts = pick(self.answers), pick(self.fields), self.totals[rows], self.left_out
    return ReadExamples(self.samples.take(rows), *parts, pick(self.candidates))


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
  by_id = {_name(row): row for row in table if row['task'] == question.name}
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


def _name(example: Mapping[str, Any]) -> tuple[str, str]:
  """Returns (user, id): ids need only be unique among a user's examples."""
  return example['user_id'], example['example_id']


def read_asked_examples(
  histories_dir: str,
  question: ExampleQuestion,
  split: str,
  answered: Collection[tuple[str, str]] | None = None,
) -> ReadExamples:
  """Reads the examples of a split, or of 'all', in the order of their shards.

  Args:
    histories_dir: finished folder of the histories.
    question: words of the question.
    split: name of the split, or 'all'.
    answered: (user, id) of examples to read; None for all. Records that are not valid
      examples are left out, too: `batch_predict` rejects them.

  Raises:
    JobError: an answer is none of the options.
  """
  num_items = pq.read_metadata(f'{histories_dir}/items.parquet').num_rows
  found, left_out = [], []
  for place, record in _records(histories_dir, split, question.name):
    example = _valid_example(record, question, num_items)
    if example is None:
      left_out.append(place)
    elif answered is not None and _name(example) not in answered:
      left_out.append(example['example_id'])
    else:
      found.append(example)
  only = lambda name: [x[name][0].item() if len(x[name]) else -1 for x in found]
  samples = ChoiceSamples(
    example_ids=[x['example_id'] for x in found],
    user_ids=[x['user_id'] for x in found],
    asked=np.array(only('example_item'), np.int64),
    answers=np.array([_option(x, question) for x in found], np.int64),
    items=[x['history_items'] for x in found],
    values=[x['history_ratings'] for x in found],
  )
  own = lambda x: {name: x[f'{schema.FIELD}{name}'] for name in question.fields}
  totals = np.array([x['history_total'] for x in found], np.int64)
  answers = [(*x['answer'], '')[0] for x in found]
  of_rank = [x.get(*schema.CANDIDATES, np.zeros(0, np.int64)) for x in found]
  return ReadExamples(samples, answers, [*map(own, found)], totals, left_out, of_rank)


def read_answer_texts(
  histories_dir: str, question: ExampleQuestion, split: str
) -> Iterator[str]:
  """Yields the answers of a split, one by one.

  Args:
    histories_dir: finished folder of the histories.
    question: words of the question.
    split: name of the split, or 'all'.
  """
  num_items = pq.read_metadata(f'{histories_dir}/items.parquet').num_rows
  for _, record in _records(histories_dir, split, question.name):
    example = _valid_example(record, question, num_items)
    yield from example['answer'] if example else ()


def _records(histories_dir, split, name) -> Iterator[tuple[str, bytes]]:
  for path in history_records.list_history_files(histories_dir, split, name):
    for number, record in enumerate(tfrecord.read_tfrecord(path)):
      yield f'record {number} of {path}', record


def _valid_example(record, question, num_items):
  """Decodes a record; None if it is not an example about items of the table."""
  try:
    example = history_records.decode_example(record, question.record_kinds)
  except ValueError:
    return None
  rows = np.concatenate([example['history_items'], example[question.asked_field]])
  known = np.all((rows >= 0) & (rows < num_items))
  lengths = len(example['history_items']), len(example['history_ratings'])
  return example if known and lengths[0] == lengths[1] else None


def _option(example, question):
  """Returns the number of the right option, 0 without options; -1 if none is known.

  Raises:
    JobError: it is none of the options.
  """
  if not example['answer']:
    return -1
  (answer,) = example['answer']
  if not isinstance(question, Choice):
    return 0
  if answer not in question.options:
    raise JobError(
      f'example {example["example_id"]!r}: the answer {answer!r} is none of the '
      f'options {[*question.options]}'
    )
  return question.options.index(answer)


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
