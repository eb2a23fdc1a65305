"""Answers of t5x.infer to the prediction table that `pipelines.batch_predict` writes.

    python -m pipelines.t5x_answers --answers_dir=answers --model_dir=model \
      --histories_dir=histories --output_dir=predictions [--format=avro|parquet|json]

`--answers_dir` is INFER_OUTPUT_DIR of configs/t5x/infer.gin; `--model_dir` names the
model in the table (`persoma_tf.convert_checkpoint --checkpoint=...` makes it).
"""

import dataclasses
import json
import logging
import re
from collections.abc import Sequence
from typing import Any, Literal

from apache_beam.io.filesystems import FileSystems

from pipelines import batch_predict
from pipelines.common import job, output_folder
from pipelines.predictions import answer_shards
from pipelines.predictions.prediction_files import FORMATS, to_bytes
from tasks import questions
from tasks.histories import load_genres

_LOGGER = logging.getLogger(__name__)
_SHARD = re.compile(r'(.*-predict_with_aux\.jsonl)-(\d{5})-of-(\d{5})')


@dataclasses.dataclass(frozen=True)
class Config:
  """The flags."""

  answers_dir: str = dataclasses.field(metadata={'help': 'folder of a t5x.infer run'})
  model_dir: str = dataclasses.field(metadata={'help': 'folder of the same model'})
  histories_dir: str = dataclasses.field(
    metadata={'help': 'the histories that were answered'}
  )
  output_dir: str = dataclasses.field(metadata={'help': 'folder to write'})
  overwrite: bool = dataclasses.field(
    default=False, metadata={'help': 'make a finished folder again'}
  )
  split: Literal[batch_predict.SPLITS] = dataclasses.field(
    default='test', metadata={'help': 'which users were answered'}
  )
  format: Literal[tuple(FORMATS)] = dataclasses.field(
    default='avro', metadata={'help': 'of the table'}
  )
  run_id: str = dataclasses.field(
    default='', metadata={'help': 'column run_id; default: a hash of the inputs'}
  )


def answer_files(folder: str) -> list[str]:
  """All shards of one finished inference, in order.

  Raises:
    JobError: there is none, there are several, or a shard is missing or not finished.
  """
  paths = {
    FileSystems.split(path)[1]: path for path in output_folder.list_files(folder)
  }
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
  """A line of t5x.infer as a row without the columns of the run.

  Raises:
    JobError: names the file, the line and the field.
  """
  try:
    found = json.loads(line)
    user_id, shown = (found['inputs'][key] for key in ('user_id', 'history_mask'))
    text, log_prob = found['prediction'], float(found['aux']['scores'])
  except (ValueError, KeyError, TypeError) as error:
    raise job.JobError(
      f'{place}: {error!r}; expected inputs.user_id, inputs.history_mask, prediction '
      'and aux.scores, as configs/t5x/infer.gin has them written'
    ) from error
  return question.row(user_id, text, log_prob, sum(shown), genres)


def question_of(model_dir: str) -> questions.Question:
  """What a model was asked, by its `config.gin`; MovieLens's question without one.

  Raises:
    JobError: nothing that `config.gin` imports registers the question.
  """
  path = FileSystems.join(model_dir, 'config.gin')
  if not FileSystems.exists(path):
    return questions.MOVIELENS
  try:
    return questions.question_of_config(output_folder.read_file(path).decode())
  except ValueError as error:
    raise job.JobError(f'{path}: {error}') from error


def read_rows(
  paths: Sequence[str], question: questions.Question, genres: Sequence[str]
) -> list[dict[str, Any]]:
  """The rows of all files.

  Raises:
    JobError: a line cannot be read, or a user is answered twice.
  """
  rows = {}
  for path in paths:
    with FileSystems.open(path) as file:
      for number, line in enumerate(file, start=1):
        row = to_row(line, f'{path}:{number}', question, genres)
        if row['user_id'] in rows:
          raise job.JobError(f'{path}:{number}: user {row["user_id"]!r} a second time')
        rows[row['user_id']] = row
  return list(rows.values())


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are not as they should be.
  """
  config = job.parse_flags(Config, argv, __doc__.split('\n')[0])
  histories = output_folder.require_finished(
    config.histories_dir, 'pipelines.build_histories'
  )
  manifest = batch_predict.read_manifest(config.model_dir)
  paths = answer_files(config.answers_dir)
  settings = {
    'histories': histories['fingerprint'],
    'model': manifest,
    'answers': [output_folder.file_checksum(path) for path in paths],
    'split': config.split,
    'format': config.format,
  }
  folder = output_folder.OutputFolder(config.output_dir, settings)
  if not folder.begin(config.overwrite):
    return
  question = question_of(config.model_dir)
  rows = read_rows(paths, question, load_genres(config.histories_dir).names)
  constants = batch_predict.columns_of_run(manifest, config.run_id, folder)
  part = answer_shards.AnswerShard(0, 1, '', 0, len(rows))
  rows.sort(key=lambda row: row['user_id'])
  data = to_bytes([row | constants for row in rows], config.format)
  output_folder.write_file(folder.file(part.file(config.format)), data)
  batch_predict.finish_predictions(folder, [part], config.format)
  _LOGGER.info('%s: %d users', folder.path, len(rows))


if __name__ == '__main__':
  from pipelines import t5x_answers

  job.main(t5x_answers.run)
