"""Reads the examples of a question as the report and the simple methods see them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipelines.common import tfrecord
from pipelines.common.job import JobError
from pipelines.histories import history_records
from tasks import schema
from tasks.answers.choice import Choice
from tasks.answers.example_question import ExampleQuestion
from tasks.answers.rank import Rank
from tasks.baselines import ChoiceSamples


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


class AskedCandidates(NamedTuple):
  """Holds what one example of a ranking asks.

  Attributes:
    name: (user, id) of the example.
    items: [C] int rows of the candidates in the item table.
    answer: number of the right one; -1 if it is not known.
  """

  name: tuple[str, str]
  items: np.ndarray
  answer: int


def example_name(example: Mapping[str, Any]) -> tuple[str, str]:
  """Returns (user, id): ids need only be unique among the examples of a user."""
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
  found, left_out = [], []
  for place, example in _examples(histories_dir, question, split):
    if example is None:
      left_out.append(place)
    elif answered is not None and example_name(example) not in answered:
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
  for _, example in _examples(histories_dir, question, split):
    yield from example['answer'] if example else ()


def read_asked_candidates(
  histories_dir: str, question: Rank, split: str
) -> Iterator[AskedCandidates]:
  """Yields the valid examples of a ranking one by one, without their histories.

  Args:
    histories_dir: finished folder of the histories.
    question: words of the question.
    split: name of the split, or 'all'.

  Raises:
    JobError: an answer is none of the options.
  """
  (candidates,) = schema.CANDIDATES
  for _, example in _examples(histories_dir, question, split):
    if example:
      items, answer = example[candidates], _option(example, question)
      yield AskedCandidates(example_name(example), items, answer)


def _examples(histories_dir, question, split) -> Iterator[tuple[str, dict | None]]:
  """Yields the place of each record, and its example; None if it is not valid."""
  num_items = pq.read_metadata(f'{histories_dir}/items.parquet').num_rows
  for path in history_records.list_history_files(histories_dir, split, question.name):
    for number, record in enumerate(tfrecord.read_tfrecord(path)):
      example = _valid_example(record, question, num_items)
      yield f'record {number} of {path}', example


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
