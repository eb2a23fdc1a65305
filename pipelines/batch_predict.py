"""Histories to a prediction table, with a trained soft prompt and a frozen decoder.

    python -m pipelines.batch_predict --model_dir=model --histories_dir=histories \
      --embeddings_dir=embeddings --output_dir=predictions [--split=test ...] \
      [--format=avro|parquet|json] [--runner=DataflowRunner ...]

Writes `predictions-*` (a file for every `--shard_users` users), `rejects-*.jsonl` where
there are any, `bigquery_schema.json` and `run_info.json`. A run that was cut goes on
with the shards that are missing. `--shard=0/4` answers a quarter of them, for machines
that share a folder and have no Beam runner; the last one completes it.
"""

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Literal

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import RunInference

from persoma_tf.units import format_duration
from pipelines import folders, job, schema
from pipelines.load_predictions import load
from pipelines.transforms import parts, prediction_files
from pipelines.transforms.prediction_table import parse_table
from pipelines.transforms.progress import ShowProgress
from tasks.decoding import WEIGHTS, Decoding

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
  overwrite: bool = _flag(False, 'make a finished or half-written folder anew')
  split: Literal[SPLITS] = _flag('test', 'which users')
  format: Literal[tuple(prediction_files.FORMATS)] = _flag('avro', 'of the table')
  run_id: str = _flag('', 'column run_id; default: a hash of the inputs')
  constrained: bool = _flag(True, 'only answers that can be read back')
  beams: int = _flag(1, 'more than 1: search for the most probable answer')
  temperature: float = _flag(0.0, 'more than 0: draw tokens')
  seed: int = _flag(0, 'of what is drawn')
  weights: Literal[WEIGHTS] = _flag('float32', "type of the decoder's weights")
  soft_prompts: bool = _flag(False, "write every user's soft prompt too, as Parquet")
  shard_users: int = _flag(1000, 'users a file of the table')
  shard: str = _flag('', 'i/n: answer only the i-th of n shares, counted from 0')
  batch_size: int = _flag(64, 'users that are answered together')
  batch_tokens: int = _flag(8192, 'the same for histories as text, tokens')
  bigquery_table: str = _flag(
    '', 'project:dataset.table to load the finished folder into'
  )
  share_model: bool = _flag(False, 'one model for all worker processes of a machine')

  def __post_init__(self):
    for name in ('batch_size', 'batch_tokens', 'shard_users'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)}: expected at least 1')
    if self.bigquery_table:
      parse_table(self.bigquery_table)
    self.share  # noqa: B018  raises where it cannot be read
    self.decoding  # noqa: B018

  @property
  def decoding(self) -> Decoding:
    """How answers are written."""
    names = [field.name for field in dataclasses.fields(Decoding)]
    return Decoding(**{name: getattr(self, name) for name in names})

  @property
  def share(self) -> tuple[int, int]:
    """(i, n) of `shard`."""
    number, _, total = (self.shard or '0/1').partition('/')
    if not (number.isdecimal() and total.isdecimal() and int(number) < int(total)):
      raise ValueError(f'shard={self.shard!r}: expected i/n with i < n, such as 0/4')
    return int(number), int(total)


def build(pipeline: beam.Pipeline, config: Config, todo: Sequence[parts.Part], write):
  """The graph: answers parts and writes them; gives the rows of each."""
  return (
    pipeline
    | 'Parts' >> beam.Create(list(todo))
    | 'Spread' >> beam.Reshuffle()
    | 'Answer' >> RunInference(parts.Answer(config, config.share_model))
    | 'Write' >> beam.ParDo(write)
    | 'Progress' >> beam.ParDo(ShowProgress('answered', 'users'))
  )


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are not as they should be.
  """
  config, options = job.parse(Config, argv, __doc__.split('\n')[0])
  manifest = read_manifest(config.model_dir)
  given = inputs(config)
  check_trained_on(manifest, config)
  settings = {
    **given,
    'model': manifest,
    'split': config.split,
    'format': config.format,
    'decoding': dataclasses.asdict(config.decoding),
    'shard_users': config.shard_users,
    'soft_prompts': config.soft_prompts,
    'run_id': config.run_id,
  }
  folder = folders.OutputFolder(config.output_dir, settings)
  if folder.begin(config.overwrite, go_on=True):
    answer(folder, manifest, config, options)
  if config.bigquery_table and folder.is_finished():
    load(folder.path, config.bigquery_table)


def answer(folder: folders.OutputFolder, manifest, config: Config, options) -> None:
  """Answers what is missing in a folder, and completes it if nothing is left."""
  started = time.monotonic()
  every = parts.plan(
    history_files(config.histories_dir, config.split), config.shard_users
  )
  number, total = config.share
  mine = [part for part in every if part.number % total == number]
  todo = missing(folder, mine, config.format)
  if len(todo) < len(mine):
    _LOGGER.info('%d of %d shards are there already', len(mine) - len(todo), len(mine))
  constants = columns_of_run(manifest, config.run_id, folder)
  last = job.is_detached(options)
  with beam.Pipeline(options=options) as pipeline:
    rows = build(pipeline, config, todo, parts.Write(folder, config.format, constants))
    if last:
      _ = (
        pipeline
        | 'Last' >> beam.Create([folder])
        | 'Finish' >> beam.Map(_finish_behind, beam.pvalue.AsIter(rows), every, config)
      )
  if last:
    _LOGGER.info('%s: the job is submitted and will complete it', folder.path)
  elif left := missing(folder, every, config.format):
    _LOGGER.info('%s: %d shards are left to others', folder.path, len(left))
  else:
    finish(folder, every, config.format)
    took = format_duration(time.monotonic() - started)
    _LOGGER.info('%s: written in %s', folder.path, took)


def inputs(config) -> dict[str, str]:
  """Fingerprints of the histories and embeddings.

  Raises:
    JobError: one is not finished, or they do not belong together.
  """
  histories = folders.require_finished(
    config.histories_dir, 'pipelines.build_histories'
  )
  embeddings = folders.require_finished(config.embeddings_dir, 'pipelines.embed_items')
  if embeddings['settings']['histories'] != histories['fingerprint']:
    raise job.JobError(
      f'{config.embeddings_dir} was made from other histories than '
      f'{config.histories_dir}: run python -m pipelines.embed_items on these'
    )
  return {
    'histories': histories['fingerprint'],
    'embeddings': embeddings['fingerprint'],
  }


def check_trained_on(manifest: Mapping, config) -> None:
  """Compares embeddings and histories with those that the model was trained on.

  Genres that the model has not seen are warned of: it may still answer with others.

  Raises:
    JobError: the vectors of interactions are made in another way.
  """
  path = FileSystems.join(config.embeddings_dir, 'encoder_info.json')
  info = folders.read_json(path)
  as_text = manifest.get('task_prompt') is None  # then only the nouns are read
  for name, wanted in manifest.get('vectors', {}).items():
    if info.get(name) != wanted and (name == 'nouns' or not as_text):
      raise job.JobError(
        f'{path}: {name} is {info.get(name)}, and {wanted} where {config.model_dir} '
        'was trained: run python -m pipelines.embed_items with the same --encoder, '
        '--template and nouns as for the training'
      )
  path = FileSystems.join(config.histories_dir, 'dataset_info.json')
  genres = folders.read_json(path)['genres']
  if new := sorted({*genres} - {*manifest.get('genres', genres)}):
    _LOGGER.warning(
      '%s: the model was not trained on the genres %s', path, ', '.join(new)
    )


def history_files(histories_dir: str, split: str) -> list[str]:
  """The files of a split, or of 'all', in order."""
  wanted = SPLITS[:-1] if split == 'all' else (split,)
  return [
    path
    for path in folders.list_files(histories_dir)
    if '.tfrecord' in path and FileSystems.split(path)[1].split('-')[0] in wanted
  ]


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
    'run_id': run_id or folder.fingerprint[:16],
    'predicted_at': folder.begun_at(),
  }


def missing(
  folder: folders.OutputFolder, some: Sequence[parts.Part], kind: str
) -> list:
  """Those of some parts whose table shard is not there."""
  names = folder.names()
  return [part for part in some if part.file(kind) not in names]


def finish(folder: folders.OutputFolder, every: Sequence[parts.Part], kind: str):
  """Counts what was written, writes schema and info, and completes the folder.

  Raises:
    JobError: users in are not rows + rejects.
  """
  users = failures = 0
  total = 0.0
  for rows in prediction_files.shards(folder.path, kind):
    users += len(rows)
    failures += sum(not row['parse_ok'] for row in rows)
    total += sum(row['log_prob'] for row in rows)
  rejects = sum(
    len(folders.read_file(folder.file(name)).splitlines())
    for name in sorted(folder.names())
    if name.startswith('rejects-') and '.tmp-' not in name
  )
  wanted = sum(part.users for part in every)
  if users + rejects != wanted:
    raise job.JobError(
      f'{folder.path}: {users} users answered and {rejects} rejected of {wanted}: the '
      'shards do not belong together; --overwrite makes them anew'
    )
  folder.write_json('bigquery_schema.json', schema.predictions_bigquery())
  folder.write_json(
    'run_info.json',
    {
      **folder.settings,
      'users': users,
      'rejects': rejects,
      'parse_failures': failures,
      'mean_log_prob': total / max(users, 1),
      'versions': job.versions('jax', 'flax'),
    },
  )
  folder.complete()


def _finish_behind(folder, rows, every, config):
  """`finish` as the last step of a job that nobody waits for."""
  for _ in rows:  # the shards are written once these are there
    pass
  finish(folder, every, config.format)
  if config.bigquery_table:
    load(folder.path, config.bigquery_table)


if __name__ == '__main__':
  from pipelines import batch_predict

  job.main(batch_predict.run)
