"""Scores a model's predictions, beside methods that need no model, in a report.

    python -m pipelines.evaluate --predictions_dir=predictions \
      --histories_dir=histories --output_dir=report [--model_dir=model]

Writes `metrics.json`, `scores.txt`, which is also printed, and `report.html`, a page
that needs nothing else. `--model_dir` adds the training's curves and configuration, and
`model_card.md`, the adapter's model card with these scores.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

from pipelines import job
from pipelines.job import JobError

# Imports of libraries stand in functions: --help and a bad flag answer at once.


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  predictions_dir: str = dataclasses.field(
    metadata={'help': 'finished folder of pipelines.batch_predict'}
  )
  histories_dir: str = dataclasses.field(
    metadata={'help': 'folder of the histories that the predictions were made from'}
  )
  output_dir: str = dataclasses.field(metadata={'help': 'folder to write'})
  model_dir: str = dataclasses.field(
    default='',
    metadata={'help': 'folder of the model, for its training curves and model card'},
  )
  overwrite: bool = dataclasses.field(
    default=False, metadata={'help': 'make a finished folder again'}
  )
  seed: int = dataclasses.field(
    default=0, metadata={'help': 'seed of the bootstrap and of the drawn examples'}
  )
  bootstrap_samples: int = dataclasses.field(
    default=1000, metadata={'help': 'number of bootstrap resamples of the users'}
  )

  def __post_init__(self):
    for name in ('predictions_dir', 'histories_dir', 'output_dir', 'model_dir'):
      if '://' in (folder := getattr(self, name)):
        raise ValueError(
          f'{name}={folder}: a report is made from and in local folders; copy it here '
          'first, such as with gcloud storage cp -r'
        )


def require_inputs(config: Config) -> dict[str, Any]:
  """Checks the input folders and returns the `COMPLETED` of the predictions.

  Raises:
    JobError: a folder is not finished, or the two do not belong together.
  """
  from pipelines import folders

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
  from pipelines import folders
  from pipelines.report.run_results import read_training
  from pipelines.report.scoring import score_run

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
  run_info = {'model': model, **settings, 'versions': job.versions('matplotlib')}
  results = score_run(
    config.histories_dir,
    config.predictions_dir,
    predicted['settings'],
    run_info,
    training,
  )
  print(write_report(folder, results, config), end='')


def write_report(folder, results, config: Config) -> str:
  """Writes the files and completes the folder.

  Args:
    folder: the `OutputFolder`, begun.
    results: `RunResults` of the run.
    config: the flags.

  Returns:
    `scores.txt`.
  """
  from persoma_tf import model_card
  from pipelines import folders
  from pipelines.report.run_page import render_run_page
  from pipelines.report.scoring import scores_as_text

  names = ('counts', 'sampler', 'max_history', 'seed')
  data = {'split': results.split, **{name: results.info[name] for name in names}}
  report = {'methods': results.methods, 'data': data, 'run': results.run}
  scores = scores_as_text(results.methods)
  folder.write_json('metrics.json', report)
  folders.write_file(folder.file('scores.txt'), scores.encode())
  folders.write_file(folder.file('report.html'), render_run_page(results).encode())
  if config.model_dir:
    card = model_card.of_folder(config.model_dir, config.histories_dir, report)
    folders.write_file(folder.file('model_card.md'), card.encode())
  folder.complete()
  return scores


def _sha256(text):
  return hashlib.sha256(text.encode()).hexdigest()


if __name__ == '__main__':
  from pipelines import evaluate

  job.main(evaluate.run)
