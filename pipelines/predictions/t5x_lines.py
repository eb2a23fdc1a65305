"""Reads the answers that t5x.infer has written."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from pipelines.common import job, storage
from pipelines.histories import history_records
from pipelines.histories.history_records import require_users
from pipelines.predictions.question_checks import check_examples_of
from tasks import questions, schema, shard_files
from tasks.answers.example_question import ExampleQuestion
from tasks.answers.rank import Rank

_TABLE = '-predict_with_aux.jsonl'


def answer_files(folder: str) -> list[str]:
  """Finds the shards of a finished run of t5x.infer, in order.

  Raises:
    JobError: there is no run, there are several runs, or a shard is missing or not
      finished.
  """
  paths = storage.names_in(folder)
  parsed = {name: shard_files.parse_shard(name) for name in paths}
  shards = {
    name: shard
    for name, shard in parsed.items()
    if shard and shard.table.endswith(_TABLE) and not shard.ending
  }
  kinds = {(shard.table, shard.total) for shard in shards.values()}
  if len(kinds) != 1:
    raise job.JobError(
      f'{folder}: expected the shards of one t5x.infer run with '
      f"mode='predict_with_aux', found {sorted(shards) or sorted(paths)[:5]}"
    )
  ((kind, count),) = kinds
  wanted = [f'{kind}-{shard:05}-of-{count:05}' for shard in range(count)]
  missing = [x for x in wanted if x not in paths or f'{x}.COMPLETED' not in paths]
  if missing:
    raise job.JobError(f'{folder}: not finished by t5x.infer: {missing[:5]}')
  return [paths[name] for name in wanted]


def model_questions(
  model_dir: str, trusted: Sequence[str] = ()
) -> dict[str, questions.AnyQuestion]:
  """Returns the questions in a model's `config.gin`; without this file, MovieLens's.

  Args:
    model_dir: folder of the model.
    trusted: modules that `config.gin` may import.

  Raises:
    JobError: no module that `config.gin` imports registers the question.
  """
  path = FileSystems.join(model_dir, 'config.gin')
  if not FileSystems.exists(path):
    return {questions.MOVIELENS.name: questions.MOVIELENS}
  try:
    return questions.questions_of_config(storage.read_file(path).decode(), trusted)
  except ValueError as error:
    raise job.JobError(f'{path}: {error}') from error


class AskedRecords(NamedTuple):
  """Holds what t5x.infer was asked.

  Attributes:
    key: name of what tells answers apart: 'user_id' or, of examples, 'example_id'.
    records: file and line of each record of the split, and of an example what its row
      has of it, by the value of the key.
    write: function (value of the key, text, log probability, number of interactions)
      -> row without the columns of the run.
  """

  key: str
  records: Mapping[str, Mapping[str, Any]]
  write: Callable[[str, str, float, int], dict[str, Any]]

  @property
  def noun(self) -> str:
    """Returns 'user' or 'example'."""
    return self.key.removesuffix('_id')


def answered_by(
  model_dir: str, histories_dir: str, split: str, trusted: Sequence[str] = ()
) -> questions.AnyQuestion:
  """Returns the question of a model, and checks that there is whom to ask.

  Args:
    model_dir: folder of the model; its recipe names the question.
    histories_dir: folder of the histories that the model read.
    split: name of the split, or 'all'.
    trusted: modules that the model's `config.gin` may import.

  Raises:
    JobError: the model answers several questions, or ranks, or there is nobody to ask.
  """
  question, *more = model_questions(model_dir, trusted).values()
  if more or isinstance(question, Rank):
    raise job.JobError(
      f'{model_dir} answers several questions, or ranks candidates: t5x_answers reads '
      'answers to one question with a text of its own; use python -m '
      'pipelines.batch_predict'
    )
  if isinstance(question, ExampleQuestion):
    check_examples_of(question, histories_dir, split)
  else:
    require_users(histories_dir, split)
  return question


def asked_records(
  question: questions.AnyQuestion, histories_dir: str, split: str
) -> AskedRecords:
  """Reads whom t5x.infer asked.

  Args:
    question: question of the model.
    histories_dir: folder of the histories that the model read.
    split: name of the split, or 'all'.

  Raises:
    JobError: a record is no history.
  """
  if isinstance(question, ExampleQuestion):
    ids = pa.BufferReader(storage.read_file(f'{histories_dir}/items.parquet'))
    ids = pq.read_table(ids, columns=['item_id'])['item_id']
    about = lambda record: _of_example(question.about(record, ids))
    asked = question.name, question.record_kinds, about
    records = _read_records(histories_dir, split, 'example_id', *asked)
    write = lambda name, *told: question.row(records[name], *told)
    return AskedRecords('example_id', records, write)
  info = storage.read_json(FileSystems.join(histories_dir, 'dataset_info.json'))
  records = _read_records(histories_dir, split, 'user_id')
  write = lambda user, *told: question.row(user, *told, info['genres'])
  return AskedRecords('user_id', records, write)


def _of_example(record):
  """Returns an example without its history."""
  return {name: x for name, x in record.items() if not name.startswith('history_')}


def _read_records(
  histories_dir, split, key, question='', kinds=schema.HISTORY, about=lambda _: {}
):
  """Returns the place of each record of a split, and what `about` tells of it."""
  return {
    record[key]: {'file': path, 'line': line, **about(record)}
    for path in history_records.list_history_files(histories_dir, split, question)
    for line, record in enumerate(history_records.read_history_file(path, kinds), 1)
  }


def reject_unanswered(
  asked: AskedRecords, rows: Sequence[Mapping[str, Any]]
) -> list[dict]:
  """Returns a reject for each record without a row, in their order."""
  answered = {row[asked.key] for row in rows}
  return [
    job.reject(
      't5x_answers',
      'no_answer',
      file=record['file'],
      line=record['line'],
      expected='an answer of t5x.infer',
      **{asked.key: name},
    )
    for name, record in asked.records.items()
    if name not in answered
  ]


def read_rows(paths: Sequence[str], asked: AskedRecords) -> list[dict[str, Any]]:
  """Reads the rows of all files, sorted by user, or by example.

  Args:
    paths: files of one run of t5x.infer.
    asked: what it was asked.

  Raises:
    JobError: a line cannot be read, somebody was not asked, or has two answers.
  """
  rows = {}
  for path in paths:
    with FileSystems.open(path) as file:
      for number, line in enumerate(file, start=1):
        place = f'{path}:{number}'
        name, *told = _parse(line, place, asked.key)
        if name not in asked.records:
          raise job.JobError(
            f'{place}: {asked.noun} {name!r} is not in the split of these histories: '
            'give the histories and the --split that t5x.infer read'
          )
        if name in rows:
          raise job.JobError(
            f'{place}: {asked.noun} {name!r} has two answers; expected one'
          )
        rows[name] = asked.write(name, *told)
  return [rows[name] for name in sorted(rows)]


def _parse(line: str, place: str, key: str) -> tuple[str, str, float, int]:
  """Parses a line of t5x.infer to the arguments of `AskedRecords.write`.

  Raises:
    JobError: the line lacks a field; the message names file, line and field.
  """
  try:
    answer = json.loads(line)
    name, shown = (answer['inputs'][field] for field in (key, 'history_mask'))
    text, log_prob = answer['prediction'], float(answer['aux']['scores'])
    length = sum(shown)
  except (ValueError, KeyError, TypeError) as error:
    raise job.JobError(
      f'{place}: {error!r}; expected inputs.{key}, inputs.history_mask, prediction and '
      'aux.scores, as configs/t5x/infer.gin writes them'
    ) from error
  if not (isinstance(name, str) and isinstance(text, str)):
    raise job.JobError(
      f'{place}: {key} is {name!r}, prediction is {text!r}; expected texts'
    )
  return name, text, log_prob, length
