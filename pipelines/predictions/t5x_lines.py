"""Reads the answers that t5x.infer has written."""

import json
import re
from collections.abc import Sequence
from typing import Any

from apache_beam.io.filesystems import FileSystems

from pipelines.common import job, storage
from tasks import questions
from tasks.histories import load_genres

_SHARD = re.compile(r'(.*-predict_with_aux\.jsonl)-(\d{5})-of-(\d{5})')


def answer_files(folder: str) -> list[str]:
  """Finds the shards of a finished run of t5x.infer, in order.

  Raises:
    JobError: there is no run, there are several runs, or a shard is missing or not
      finished.
  """
  paths = {FileSystems.split(path)[1]: path for path in storage.list_files(folder)}
  shards = {name: match for name in paths if (match := _SHARD.fullmatch(name))}
  kinds = {(match[1], int(match[3])) for match in shards.values()}
  if len(kinds) != 1:
    raise job.JobError(
      f'{folder}: expected the shards of one t5x.infer run with '
      f"mode='predict_with_aux', found {sorted(shards) or sorted(paths)[:5]}"
    )
  ((kind, count),) = kinds
  wanted = [f'{kind}-{shard:05}-of-{count:05}' for shard in range(count)]
  missing = [x for x in wanted if x not in paths or f'{x}.COMPLETED' not in paths]
  if missing:
    raise job.JobError(f'{folder}: not finished by t5x.infer: {missing}')
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
  except (ValueError, KeyError, TypeError) as error:
    raise job.JobError(
      f'{place}: {error!r}; expected inputs.user_id, inputs.history_mask, prediction '
      'and aux.scores, as configs/t5x/infer.gin writes them'
    ) from error
  return question.row(user_id, text, log_prob, sum(shown), genres)


def question_of(model_dir: str, trusted: Sequence[str] = ()) -> questions.Question:
  """Returns the question in a model's `config.gin`; without this file, MovieLens's.

  Args:
    model_dir: folder of the model.
    trusted: modules that `config.gin` may import.

  Raises:
    JobError: no module that `config.gin` imports registers the question.
  """
  path = FileSystems.join(model_dir, 'config.gin')
  if not FileSystems.exists(path):
    return questions.MOVIELENS
  try:
    return questions.question_of_config(storage.read_file(path).decode(), trusted)
  except ValueError as error:
    raise job.JobError(f'{path}: {error}') from error


def read_rows(
  paths: Sequence[str], model_dir: str, histories_dir: str, trusted: Sequence[str] = ()
) -> list[dict[str, Any]]:
  """Reads the rows of all files, sorted by user.

  Args:
    paths: files of one run of t5x.infer.
    model_dir: folder of the model that wrote the answers; its recipe names the
      question.
    histories_dir: folder of the histories that the model read.
    trusted: modules that the model's `config.gin` may import.

  Raises:
    JobError: a line cannot be read, or a user has two answers.
  """
  question, genres = question_of(model_dir, trusted), load_genres(histories_dir).names
  rows = {}
  for path in paths:
    with FileSystems.open(path) as file:
      for number, line in enumerate(file, start=1):
        row = to_row(line, f'{path}:{number}', question, genres)
        if row['user_id'] in rows:
          raise job.JobError(
            f'{path}:{number}: user {row["user_id"]!r} has two answers; expected one'
          )
        rows[row['user_id']] = row
  return sorted(rows.values(), key=lambda row: row['user_id'])
