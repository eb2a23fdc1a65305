"""Writes the answers of t5x.infer as a prediction table, like `batch_predict`.

    python -m pipelines.t5x_answers --answers_dir=answers --model_dir=model \
      --histories_dir=histories --output_dir=predictions [--format=avro|parquet|json]

`--answers_dir` is INFER_OUTPUT_DIR of configs/t5x/infer.gin. `--model_dir` is made by
`persoma_tf.convert_checkpoint --checkpoint=...`; the table holds its model id.
"""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Literal

from pipelines.common import flags
from pipelines.common.flags import flag, path_flag
from pipelines.predictions.table_name import check_run_id
from tasks import schema
from tasks.schema import PREDICTION_FORMATS, SPLITS

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  answers_dir: str = path_flag('folder of a t5x.infer run')
  model_dir: str = path_flag('folder of the model that wrote the answers')
  histories_dir: str = path_flag('folder of the histories that the model read')
  output_dir: str = path_flag('folder to write')
  overwrite: bool = flag('write a finished folder again', False)
  split: Literal[(*SPLITS, 'all')] = flag('split whose users got an answer', 'test')
  format: Literal[PREDICTION_FORMATS] = flag('format of the table', 'avro')
  run_id: str = flag("value of the column run_id; '': a hash of the inputs", '')
  trusted_modules: str = flag(
    "modules of yours that the model's config.gin may import, with commas", ''
  )

  def __post_init__(self):
    check_run_id(self.run_id)


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are unusable.
  """
  config = flags.parse(Config, argv, __doc__)
  # Imported after the flags are parsed: these import Beam and TensorFlow.
  from pipelines.common import output_folder, storage
  from pipelines.predictions import predictions_folder, t5x_lines

  histories = output_folder.require_finished(
    config.histories_dir, 'pipelines.build_histories'
  )
  trusted = flags.split_names(config.trusted_modules)
  question = t5x_lines.answered_by(
    config.model_dir, config.histories_dir, config.split, trusted
  )
  manifest = predictions_folder.read_manifest(config.model_dir)
  paths = t5x_lines.answer_files(config.answers_dir)
  settings = {
    'histories': histories['fingerprint'],
    'model': manifest,
    'answers': [storage.file_checksum(path) for path in paths],
    'split': config.split,
    'format': config.format,
    **predictions_folder.question_settings(question),
  }
  if config.run_id:  # older folders, of a run without an id, have no such setting
    settings['run_id'] = config.run_id
  folder = output_folder.OutputFolder(
    config.output_dir, settings, 'pipelines.t5x_answers'
  )
  if not folder.begin(config.overwrite):
    return
  constants = predictions_folder.columns_of_run(manifest, config.run_id, folder)
  _write(config, paths, constants, folder, question)


def _write(config, paths, constants, folder, question):
  """Writes and completes the folder."""
  from pipelines.common import storage
  from pipelines.predictions import predictions_folder, t5x_lines
  from pipelines.predictions.answer_shards import AnswerShard, write_rejects
  from pipelines.predictions.prediction_files import to_bytes

  asked = t5x_lines.asked_records(question, config.histories_dir, config.split)
  rows = t5x_lines.read_rows(paths, asked)
  shard = AnswerShard(0, 1, '', 0, len(asked.records))
  if rejects := t5x_lines.reject_unanswered(asked, rows):
    write_rejects(folder, shard, rejects)
  columns = schema.prediction_columns(folder.settings.get('question'))
  data = to_bytes([row | constants for row in rows], config.format, columns)
  storage.write_file(folder.file(shard.file(config.format)), data)
  predictions_folder.finish_predictions(folder, [shard], config.format)
  _LOGGER.info('%s: %d %ss', folder.path, len(rows), asked.noun)


if __name__ == '__main__':
  from pipelines import t5x_answers
  from pipelines.common import job

  job.main(t5x_answers.run)
