"""Predictions and labels to a report: scores of the model and of what needs none.

    python -m pipelines.evaluate --predictions_dir=predictions \
      --histories_dir=histories --output_dir=report

Writes `metrics.json` and `scores.txt`, which is also printed.
"""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipelines import folders, job, schema
from pipelines.job import JobError
from pipelines.transforms import tfrecord
from pipelines.transforms.prediction_files import read
from tasks import baselines, metrics
from tasks.labels import LabelRule
from tasks.prompts import Answer

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Config:
  """The flags."""

  predictions_dir: str = dataclasses.field(
    metadata={'help': 'finished folder of batch_predict'}
  )
  histories_dir: str = dataclasses.field(
    metadata={'help': 'the histories that were answered'}
  )
  output_dir: str = dataclasses.field(metadata={'help': 'folder to write'})
  overwrite: bool = dataclasses.field(
    default=False, metadata={'help': 'make a finished folder again'}
  )
  seed: int = dataclasses.field(default=0, metadata={'help': 'of the bootstrap'})
  bootstrap_samples: int = dataclasses.field(
    default=1000, metadata={'help': 'resamples of the users'}
  )


class Labelled(NamedTuple):
  """Histories of a split.

  Attributes:
    user_ids: U names.
    truth: [U, 2G] bool, liked and disliked genres.
    samples: of each user the sampled items' genres [n, G] bool and ratings [n].
  """

  user_ids: list[str]
  truth: np.ndarray
  samples: list[tuple[np.ndarray, np.ndarray]]


def read_split(histories_dir: str, split: str, genres: Sequence[str]) -> Labelled:
  """The users of a split, in the order of their shards."""
  listed = pq.read_table(f'{histories_dir}/items.parquet')['genres'].to_pylist()
  of_items = np.array([[name in row for name in genres] for row in listed], bool)
  users, answers, samples = [], [], []
  for path in folders.list_files(histories_dir):
    if not pathlib.PurePath(path).name.startswith(f'{split}-'):
      continue
    for history in map(schema.decode_example, tfrecord.read(path)):
      users.append(history['user_id'])
      answers.append(Answer(history['liked'], history['disliked']))
      samples.append((of_items[history['history_items']], history['history_ratings']))
  return Labelled(users, metrics.indicator(answers, genres), samples)


def answer_all(
  predictions: Sequence[Mapping[str, Any]],
  train: Labelled,
  test: Labelled,
  genres: Sequence[str],
  rule: LabelRule,
) -> dict[str, np.ndarray]:
  """The answers [U, 2G] bool of every method to the users of `test`.

  Raises:
    JobError: a user has no prediction.
  """
  by_user = {row['user_id']: row for row in predictions}
  missing = [user for user in test.user_ids if user not in by_user]
  if missing:
    raise JobError(
      f'predictions: {len(missing)} of {len(test.user_ids)} users have none, such as '
      f'{missing[0]!r}: were they made from these histories?'
    )
  rows = [by_user[user] for user in test.user_ids]
  model = [Answer(row['predicted_liked'], row['predicted_disliked']) for row in rows]
  constant = baselines.constant(train.truth)
  return {
    'persoma': metrics.indicator(model, genres),
    'constant': np.tile(constant, (len(test.user_ids), 1)),
    'counting': baselines.counting([x for x, _ in test.samples], len(genres)),
    'rule_on_sample': baselines.rule_on_sample(test.samples, len(genres), rule),
  }


def score(truth, answers, failures, config: Config) -> dict[str, dict]:
  """Scores and intervals of every method."""
  methods = {}
  for name, answer in answers.items():
    low, high = metrics.bootstrap_f1(
      truth, answer, samples=config.bootstrap_samples, seed=config.seed
    )
    methods[name] = {
      **metrics.weighted_scores(truth, answer),
      'f1_low': low,
      'f1_high': high,
      'parse_failures': failures if name == 'persoma' else 0,
      'users': len(truth),
    }
  return methods


def as_table(methods: Mapping[str, Mapping]) -> str:
  """The scores as text, best first."""
  lines = ['method          F1     95 % interval   precision  recall  parse failures']
  for name, row in sorted(methods.items(), key=lambda pair: -pair[1]['f1']):
    lines.append(
      f'{name:<14}  {row["f1"]:.3f}  {row["f1_low"]:.3f} to {row["f1_high"]:.3f}  '
      f'{row["precision"]:>9.3f}  {row["recall"]:>6.3f}  '
      f'{row["parse_failures"]:>4} of {row["users"]}'
    )
  return '\n'.join(lines) + '\n'


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are not as they should be.
  """
  config, _ = job.parse(Config, argv, __doc__.split('\n')[0])
  histories = folders.require_finished(
    config.histories_dir, 'pipelines.build_histories'
  )
  predicted = folders.require_finished(
    config.predictions_dir, 'pipelines.batch_predict'
  )
  if predicted['settings']['histories'] != histories['fingerprint']:
    raise JobError(
      f'{config.predictions_dir} answers other histories than {config.histories_dir}'
    )
  settings = {
    'predictions': predicted['fingerprint'],
    'seed': config.seed,
    'bootstrap_samples': config.bootstrap_samples,
  }
  folder = folders.OutputFolder(config.output_dir, settings)
  if not folder.begin(config.overwrite):
    return
  info = json.loads(pathlib.Path(config.histories_dir, 'dataset_info.json').read_text())
  genres, split = info['genres'], predicted['settings']['split']
  predictions = read(config.predictions_dir, predicted['settings']['format'])
  test = read_split(config.histories_dir, split, genres)
  train = read_split(config.histories_dir, 'train', genres)
  rule = LabelRule(**info['label_rule'])
  answers = answer_all(predictions, train, test, genres, rule)
  failures = sum(not row['parse_ok'] for row in predictions)
  methods = score(test.truth, answers, failures, config)
  data = {name: info[name] for name in ('counts', 'sampler', 'max_history', 'seed')}
  run_facts = {'model': predicted['settings']['model'], **settings}
  run_facts['versions'] = job.versions()
  folder.write_json(
    'metrics.json',
    {'methods': methods, 'data': {'split': split, **data}, 'run': run_facts},
  )
  table = as_table(methods)
  folders.write_file(folder.file('scores.txt'), table.encode())
  folder.complete()
  print(table, end='')


if __name__ == '__main__':
  from pipelines import evaluate

  job.main(evaluate.run)
