"""Predictions and labels to a report: scores of the model and of what needs none.

    python -m pipelines.evaluate --predictions_dir=predictions \
      --histories_dir=histories --output_dir=report [--model_dir=model]

Writes `metrics.json`, `scores.txt`, which is also printed, and `report.html`, a page
that needs nothing else. `--model_dir` adds the training's curves and configuration, and
`model_card.md`, the adapter's model card with these scores.
"""

import dataclasses
import hashlib
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from persoma_tf import model_card
from pipelines import folders, job, schema
from pipelines.job import JobError
from pipelines.report.run_page import render_run_page
from pipelines.report.run_results import (
  Labelled,
  RunResults,
  read_titles,
  read_training,
)
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
  model_dir: str = dataclasses.field(
    default='', metadata={'help': 'folder of the model, for its curves and card'}
  )
  overwrite: bool = dataclasses.field(
    default=False, metadata={'help': 'make a finished folder again'}
  )
  seed: int = dataclasses.field(
    default=0, metadata={'help': 'of bootstrap and examples'}
  )
  bootstrap_samples: int = dataclasses.field(
    default=1000, metadata={'help': 'resamples of the users'}
  )

  def __post_init__(self):
    for name in ('predictions_dir', 'histories_dir', 'output_dir', 'model_dir'):
      if '://' in (folder := getattr(self, name)):
        raise ValueError(
          f'{name}={folder}: a report is made from and in local folders; copy it here '
          'first, such as with gcloud storage cp -r'
        )


def read_split(histories_dir: str, split: str, genres: Sequence[str]) -> Labelled:
  """The users of a split, or of 'all', in the order of their shards."""
  listed = pq.read_table(f'{histories_dir}/items.parquet')['genres'].to_pylist()
  of_items = np.array([[name in row for name in genres] for row in listed], bool)
  users, answers, samples, items, totals = [], [], [], [], []
  wanted = ('train', 'validation', 'test') if split == 'all' else (split,)
  for path in folders.list_files(histories_dir):
    name = pathlib.PurePath(path).name
    if '.tfrecord' not in name or name.split('-')[0] not in wanted:
      continue
    for history in map(schema.decode_example, tfrecord.read(path)):
      users.append(history['user_id'])
      answers.append(Answer(history['liked'], history['disliked']))
      samples.append((of_items[history['history_items']], history['history_ratings']))
      items.append(history['history_items'])
      totals.append(history['history_total'])
  truth = metrics.indicator(answers, genres)
  return Labelled(users, truth, samples, items, np.array(totals, int))


def in_order(
  predictions: Sequence[Mapping[str, Any]], user_ids: Sequence[str]
) -> list[Mapping[str, Any]]:
  """The predictions of these users.

  Raises:
    JobError: a user has none.
  """
  by_user = {row['user_id']: row for row in predictions}
  missing = [user for user in user_ids if user not in by_user]
  if missing:
    raise JobError(
      f'predictions: {len(missing)} of {len(user_ids)} users have none, such as '
      f'{missing[0]!r}: were they made from these histories?'
    )
  return [by_user[user] for user in user_ids]


def answer_all(
  rows: Sequence[Mapping[str, Any]],
  train: Labelled,
  test: Labelled,
  genres: Sequence[str],
  rule: LabelRule,
) -> dict[str, np.ndarray]:
  """The answers [U, 2G] bool of every method to the users of `test`, as in `rows`."""
  model = [Answer(row['predicted_liked'], row['predicted_disliked']) for row in rows]
  constant = baselines.constant(train.truth, rule.top)
  return {
    'persoma': metrics.indicator(model, genres),
    'constant': np.tile(constant, (len(test.user_ids), 1)),
    'counting': baselines.counting([x for x, _ in test.samples], len(genres), rule.top),
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


def require_inputs(config: Config) -> dict[str, Any]:
  """Checks the input folders; returns what COMPLETED says of the predictions.

  Raises:
    JobError: one is not finished, or they do not belong together.
  """
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
  return predicted


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are not as they should be.
  """
  config = job.parse_flags(Config, argv, __doc__.split('\n')[0])
  predicted = require_inputs(config)
  model = predicted['settings']['model']
  training = read_training(config.model_dir, model)
  settings = {
    'predictions': predicted['fingerprint'],
    'seed': config.seed,
    'bootstrap_samples': config.bootstrap_samples,
    'training': {name: _sha256(text) for name, text in training.items()},
  }
  folder = folders.OutputFolder(config.output_dir, settings)
  if not folder.begin(config.overwrite):
    return
  run_facts = {'model': model, **settings, 'versions': job.versions('matplotlib')}
  write(folder, collect(predicted['settings'], run_facts, training, config), config)


def collect(
  predicted: Mapping[str, Any],
  run_facts: Mapping[str, Any],
  training: Mapping[str, str],
  config: Config,
) -> RunResults:
  """Reads and scores.

  Args:
    predicted: settings of the predictions.
    run_facts: `run` of `metrics.json`.
    training: files of the model's training (`read_training`).
    config: the flags.

  Raises:
    JobError: a user has no prediction.
  """
  info = json.loads(pathlib.Path(config.histories_dir, 'dataset_info.json').read_text())
  genres, split = info['genres'], predicted['split']
  test = read_split(config.histories_dir, split, genres)
  train = read_split(config.histories_dir, 'train', genres)
  rows = in_order(read(config.predictions_dir, predicted['format']), test.user_ids)
  answers = answer_all(rows, train, test, genres, LabelRule(**info['label_rule']))
  failures = sum(not row['parse_ok'] for row in rows)
  return RunResults(
    users=test,
    rows=rows,
    answers=answers,
    methods=score(test.truth, answers, failures, config),
    titles=read_titles(config.histories_dir),
    info=info,
    split=split,
    run=run_facts,
    predictions=folders.read_json(f'{config.predictions_dir}/run_info.json'),
    training=training,
  )


def write(folder: folders.OutputFolder, facts: RunResults, config: Config) -> None:
  """Writes the files, completes the folder and prints the scores."""
  names = ('counts', 'sampler', 'max_history', 'seed')
  data = {'split': facts.split, **{name: facts.info[name] for name in names}}
  report = {'methods': facts.methods, 'data': data, 'run': facts.run}
  folder.write_json('metrics.json', report)
  table = as_table(facts.methods)
  folders.write_file(folder.file('scores.txt'), table.encode())
  folders.write_file(folder.file('report.html'), render_run_page(facts).encode())
  if config.model_dir:
    card = model_card.of_folder(config.model_dir, config.histories_dir, report)
    folders.write_file(folder.file('model_card.md'), card.encode())
  folder.complete()
  print(table, end='')


def _sha256(text):
  return hashlib.sha256(text.encode()).hexdigest()


if __name__ == '__main__':
  from pipelines import evaluate

  job.main(evaluate.run)
