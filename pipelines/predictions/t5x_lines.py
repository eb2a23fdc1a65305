"""Reads the answers that t5x.infer has written."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from apache_beam.io.filesystems import FileSystems

from pipelines.common import job, storage
from pipelines.histories import history_records
from tasks import questions, shard_files

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


def to_row(
  line: str, place: str, question: questions.Question, genres: Sequence[str]
) -> dict[str, Any]:
  """Parses a line of t5x.infer to a row without the columns of the run.

  Raises:
    JobError: the line lacks a field; the message names file, line and field.
  """
  try:
    answer = json.loads(line)
    user_id, shown = (answer['inputs'][key] for key in ('user_id', 'history_mask'))
    text, log_prob = answer['prediction'], float(answer['aux']['scores'])
    length = sum(shown)
  except (ValueError, KeyError, TypeError) as error:
    raise job.JobError(
      f'{place}: {error!r}; expected inputs.user_id, inputs.history_mask, prediction '
      'and aux.scores, as configs/t5x/infer.gin writes them'
    ) from error
  if not (isinstance(user_id, str) and isinstance(text, str)):
    raise job.JobError(
      f'{place}: user_id is {user_id!r}, prediction is {text!r}; expected texts'
    )
  return question.row(user_id, text, log_prob, length, genres)


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


def split_users(histories_dir: str, split: str) -> dict[str, dict[str, Any]]:
  """Maps the id of each user of a split, or of 'all', to their place in the histories.

  Raises:
    JobError: a record is no history.
  """
  return {
    history['user_id']: {'file': path, 'line': line}
    for path in history_records.list_history_files(histories_dir, split)
    for line, history in enumerate(history_records.read_history_file(path), start=1)
  }


def reject_unanswered(
  users: Mapping[str, Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[dict]:
  """Returns a reject for each user without a row, in the order of `users`."""
  answered = {row['user_id'] for row in rows}
  expected = 'an answer of t5x.infer'
  return [
    job.reject('t5x_answers', 'no_answer', **place, user_id=user, expected=expected)
    for user, place in users.items()
    if user not in answered
  ]


def read_rows(
  paths: Sequence[str],
  model_dir: str,
  histories_dir: str,
  users: Collection[str],
  trusted: Sequence[str] = (),
) -> list[dict[str, Any]]:
  """Reads the rows of all files, sorted by user.

  Args:
    paths: files of one run of t5x.infer.
    model_dir: folder of the model that wrote the answers; its recipe names the
      question.
    histories_dir: folder of the histories that the model read.
    users: ids of the users that were asked.
    trusted: modules that the model's `config.gin` may import.

  Raises:
    JobError: a line cannot be read, a user was not asked, or has two answers.
  """
  info = storage.read_json(FileSystems.join(histories_dir, 'dataset_info.json'))
  question, *more = model_questions(model_dir, trusted).values()
  if more:
    raise job.JobError(
      f'{model_dir} answers several questions: t5x_answers reads answers of models of '
      'one question; use python -m pipelines.batch_predict --questions=all'
    )
  genres = info['genres']
  if not isinstance(question, questions.Question):
    raise job.JobError(
      f'{model_dir} answers {question.name}, which asks about examples: t5x_answers '
      'reads answers about users only; use python -m pipelines.batch_predict'
    )
  rows = {}
  for path in paths:
    with FileSystems.open(path) as file:
      for number, line in enumerate(file, start=1):
        row = to_row(line, f'{path}:{number}', question, genres)
        if row['user_id'] not in users:
          raise job.JobError(
            f'{path}:{number}: user {row["user_id"]!r} is not in the split of '
            f'{histories_dir}: give the histories and the --split that t5x.infer read'
          )
        if row['user_id'] in rows:
          raise job.JobError(
            f'{path}:{number}: user {row["user_id"]!r} has two answers; expected one'
          )
        rows[row['user_id']] = row
  return sorted(rows.values(), key=lambda row: row['user_id'])
