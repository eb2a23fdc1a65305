"""Histories to a prediction table, with a trained soft prompt and a frozen decoder.

    python -m pipelines.batch_predict --model_dir=model --histories_dir=histories \
      --embeddings_dir=embeddings --output_dir=predictions [--split=test ...] \
      [--format=parquet|avro|json] [--runner=DataflowRunner ...]

Writes `predictions-*` (one file), `bigquery_schema.json` and `run_info.json`.
"""

import dataclasses
import datetime
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import ModelHandler, RunInference

from pipelines import folders, job, schema
from pipelines.transforms import tfrecord
from pipelines.transforms.prediction_files import FORMATS, to_bytes
from pipelines.transforms.progress import ShowProgress
from tasks.prompts import TASK

_LOGGER = logging.getLogger(__name__)
SPLITS = ('train', 'validation', 'test', 'all')


def _flag(default, text):
  return dataclasses.field(default=default, metadata={'help': text})


@dataclasses.dataclass(frozen=True)
class Config:
  """The flags."""

  model_dir: str = dataclasses.field(metadata={'help': 'folder of a finished training'})
  histories_dir: str = dataclasses.field(
    metadata={'help': 'finished folder of build_histories'}
  )
  embeddings_dir: str = dataclasses.field(
    metadata={'help': 'finished folder of embed_items'}
  )
  output_dir: str = dataclasses.field(metadata={'help': 'folder to write'})
  overwrite: bool = _flag(False, 'make a finished folder again')
  split: Literal[SPLITS] = _flag('test', 'which users')
  format: Literal[tuple(FORMATS)] = _flag('parquet', 'of the table')
  batch_size: int = _flag(32, 'users that are answered together')
  run_id: str = _flag('', 'column run_id; default: a hash of the inputs')

  def __post_init__(self):
    if self.batch_size < 1:
      raise ValueError(f'batch_size={self.batch_size}: expected at least 1')


class PredictorHandler(ModelHandler[list[bytes], list[dict], Any]):
  """Loads the model once a worker; an element is a batch of serialized histories."""

  def __init__(self, config: Config):
    super().__init__(max_batch_size=1)  # elements are batches already
    self._config = config

  def load_model(self):
    """The predictor."""
    from tasks.predictor import Predictor  # JAX and TensorFlow, on workers only

    config = self._config
    return Predictor(
      config.model_dir, config.histories_dir, config.embeddings_dir, config.batch_size
    )

  def run_inference(self, batch, model, inference_args=None) -> Iterable[list[dict]]:
    """Each batch of histories as rows without the columns of the run."""
    for records in batch:
      histories = [schema.decode_example(record) for record in records]
      yield model.predict(histories)


def read_batches(paths: Sequence[str], size: int) -> list[list[bytes]]:
  """All histories, in lists of `size`.

  They are ordered by length, so that a batch pads little; the table is put in order
  by user id later.
  """
  records = [record for path in paths for record in tfrecord.read(path)]
  records.sort(key=lambda record: (len(record), record))
  return [records[at : at + size] for at in range(0, len(records), size)]


def build(pipeline: beam.Pipeline, config: Config, shards: Sequence[str]):
  """The graph: one list of rows a batch."""
  return (
    pipeline
    | 'Shards' >> beam.Create([list(shards)])
    | 'Read' >> beam.FlatMap(read_batches, config.batch_size)
    | 'Spread' >> beam.Reshuffle()
    | 'Answer' >> RunInference(PredictorHandler(config))
    | 'Progress' >> beam.ParDo(ShowProgress('answered', 'users'))
  )


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are not as they should be.
  """
  config, options = job.parse(Config, argv, __doc__.split('\n')[0])
  histories = folders.require_finished(
    config.histories_dir, 'pipelines.build_histories'
  )
  embeddings = folders.require_finished(config.embeddings_dir, 'pipelines.embed_items')
  if embeddings['settings']['histories'] != histories['fingerprint']:
    raise job.JobError(
      f'{config.embeddings_dir} was made from other histories than '
      f'{config.histories_dir}: run python -m pipelines.embed_items on these'
    )
  manifest = read_manifest(config.model_dir)
  started = time.monotonic()
  settings = {
    'histories': histories['fingerprint'],
    'embeddings': embeddings['fingerprint'],
    'model': manifest,
    'split': config.split,
    'format': config.format,
  }
  folder = folders.OutputFolder(config.output_dir, settings)
  if not folder.begin(config.overwrite):
    return
  wanted = ('train', 'validation', 'test') if config.split == 'all' else (config.split,)
  shards = [
    path
    for path in folders.list_files(config.histories_dir)
    if '.tfrecord' in path and FileSystems.split(path)[1].split('-')[0] in wanted
  ]
  constants = columns_of_run(manifest, config.run_id, folder)
  with beam.Pipeline(options=options) as pipeline:
    rows = build(pipeline, config, shards)
    _ = (
      pipeline
      | 'Last' >> beam.Create([folder])
      | 'Write' >> beam.Map(write, beam.pvalue.AsList(rows), constants, config)
    )
  folder.complete()
  _LOGGER.info('%s: written in %.1f s', folder.path, time.monotonic() - started)


def read_manifest(model_dir: str) -> dict:
  """What the trainer says of the trained part.

  Raises:
    JobError: the training is not finished.
  """
  folders.require_finished(model_dir, 'persoma_tf.train')
  return folders.read_json(FileSystems.join(model_dir, 'adapter', 'manifest.json'))


def columns_of_run(manifest: dict, run_id: str, folder: folders.OutputFolder) -> dict:
  """The columns that all rows of a table have alike; an empty `run_id` is a hash."""
  return {
    'model_id': manifest['model_id'],
    'task': TASK,
    'run_id': run_id or folder.fingerprint[:16],
    'predicted_at': datetime.datetime.now(datetime.UTC),
  }


def write(folder: folders.OutputFolder, batches, constants: dict, config: Config):
  """Writes the table, ordered by user id, its schema and the info file."""
  rows = [{**row, **constants} for batch in batches for row in batch]
  rows.sort(key=lambda row: row['user_id'])
  name, data = to_bytes(rows, config.format)
  folders.write_file(folder.file(name), data)
  folder.write_json('bigquery_schema.json', schema.predictions_bigquery())
  failures = sum(not row['parse_ok'] for row in rows)
  folder.write_json(
    'run_info.json',
    {
      **folder.settings,
      'users': len(rows),
      'parse_failures': failures,
      'mean_log_prob': float(np.mean([row['log_prob'] for row in rows] or [0])),
      'versions': job.versions('jax', 'flax'),
    },
  )


if __name__ == '__main__':
  from pipelines import batch_predict

  job.main(batch_predict.run)
