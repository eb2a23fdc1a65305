"""Scores a model's predictions, beside methods that need no model, in a report.

    python -m pipelines.evaluate --predictions_dir=predictions \
      --histories_dir=histories --output_dir=report \
      [--embeddings_dir=embeddings] [--model_dir=model]

Writes `metrics.json`, `scores.txt`, which is also printed, and `report.html`, a page
that needs nothing else. `--embeddings_dir` adds methods that read the item vectors
without a language model. `--model_dir` adds the training's curves and configuration,
and `model_card.md`, the adapter's model card with these scores.

Of a folder with the tables of several questions, each is reported in a folder of its
own, `report/like_v1`; `report/report.html` then has the scores of all, with links.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

from pipelines.common import flags, job
from pipelines.common.flags import flag, path_flag
from pipelines.common.job import JobError
from pipelines.common.places import LOCAL

# Imports of libraries stand in functions: --help and a bad flag answer at once.


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  predictions_dir: str = path_flag(
    'finished folder of batch_predict, of one question or of several, or of '
    't5x_answers',
    place=LOCAL,
  )
  histories_dir: str = path_flag(
    'folder of the histories that were answered', place=LOCAL
  )
  output_dir: str = path_flag('folder to write', place=LOCAL)
  embeddings_dir: str = path_flag(
    'finished folder of embed_items, for the methods that read item vectors',
    '',
    place=LOCAL,
  )
  model_dir: str = path_flag(
    'folder of the model, for its training curves and card', '', place=LOCAL
  )
  overwrite: bool = flag('write a finished folder again', False)
  seed: int = flag('seed of the bootstrap and of the drawn examples', 0)
  bootstrap_samples: int = flag('number of bootstrap resamples of the users', 1000)


def require_inputs(config: Config) -> tuple[dict[str, Any], Any]:
  """Checks the input folders.

  Returns:
    (`COMPLETED` of the predictions, their question about examples or None).

  Raises:
    JobError: a folder is not finished, the two do not belong together, or the split has
      no users, or no examples.
  """
  from pipelines.common import output_folder
  from pipelines.histories.history_records import require_users
  from pipelines.report import asked_question

  histories = output_folder.require_finished(
    config.histories_dir, 'pipelines.build_histories'
  )
  predicted = output_folder.require_finished(
    config.predictions_dir, 'pipelines.batch_predict'
  )
  if predicted['settings']['histories'] != histories['fingerprint']:
    raise JobError(
      f'the predictions in {config.predictions_dir} are for other histories than '
      f'{config.histories_dir}'
    )
  asked = predicted['settings']
  question = asked_question.answered_question(
    config.histories_dir, config.predictions_dir, asked
  )
  if question:
    asked_question.require_examples(config.histories_dir, question, asked['split'])
  else:
    require_users(config.histories_dir, asked['split'])
  return predicted, question


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are not as they should be.
  """
  config = flags.parse(Config, argv, __doc__)
  from pipelines.predictions.prediction_files import folders_of_questions
  from pipelines.report.questions_page import write_questions_page

  folders = folders_of_questions(config.predictions_dir)
  for name, folder in folders.items():
    own = '/'.join(filter(None, (config.output_dir, name)))
    _report(dataclasses.replace(config, predictions_dir=folder, output_dir=own))
  if '' not in folders:
    write_questions_page(config.output_dir, [*folders])


def _report(config: Config) -> None:
  """Writes and prints the report of one table, unless it is finished."""
  from pipelines.common import output_folder
  from pipelines.report.run_results import read_training
  from pipelines.report.scoring import score_run

  predicted, question = require_inputs(config)
  model = predicted['settings']['model']
  training = read_training(config.model_dir, model)
  settings = {
    'predictions': predicted['fingerprint'],
    **_embeddings_setting(config),
    'seed': config.seed,
    'bootstrap_samples': config.bootstrap_samples,
    'training': {name: _sha256(text) for name, text in training.items()},
  }
  folder = output_folder.OutputFolder(config.output_dir, settings, 'pipelines.evaluate')
  if not folder.begin(config.overwrite):
    return
  versions = job.versions('matplotlib', 'scipy')
  run_info = {'model': model, **settings, 'versions': versions}
  score = functools.partial(_score_examples, question) if question else score_run
  results = score(
    config.histories_dir,
    config.predictions_dir,
    predicted['settings'],
    run_info,
    training,
    config.embeddings_dir,
  )
  print(write_report(folder, results, config), end='')


def _score_examples(question, *arguments):
  """Scores a run about examples; arguments as of `read_example_run`."""
  from pipelines.report.choice_scoring import score_choice_run
  from pipelines.report.example_run import read_example_run
  from pipelines.report.rank_scoring import score_rank_run
  from pipelines.report.text_scoring import score_text_run
  from tasks.answers.rank import Rank
  from tasks.answers.text import Text

  own = {Rank.KIND: score_rank_run, Text.KIND: score_text_run}
  score = own.get(question.KIND, score_choice_run)
  return score(read_example_run(question, *arguments))


def write_report(folder, results, config: Config) -> str:
  """Writes the files and completes the folder.

  Args:
    folder: the `OutputFolder`, begun.
    results: `RunResults` or `ExampleResults` of the run.
    config: the flags.

  Returns:
    `scores.txt`.
  """
  from persoma_tf.training import model_card
  from pipelines.common import storage

  names = ('counts', 'sampler', 'max_history', 'seed')
  data = {'split': results.split, 'coverage': results.coverage._asdict()}
  data |= {name: results.info[name] for name in names}
  better = results.better_baseline
  report = {'methods': results.methods, 'better_baseline': better, 'data': data}
  report['run'] = results.run
  scores, page = _texts_of(results, data)
  folder.write_json('metrics.json', report)
  storage.write_file(folder.file('scores.txt'), scores.encode())
  storage.write_file(folder.file('report.html'), page.encode())
  if config.model_dir:
    card = model_card.card_of_folder(config.model_dir, config.histories_dir, report)
    storage.write_file(folder.file('model_card.md'), card.encode())
  folder.complete()
  return scores


def _texts_of(results, data):
  """Returns `scores.txt` and the page; adds question and main score to `data`."""
  from pipelines.report import (
    choice_page,
    rank_page,
    rank_scoring,
    run_page,
    score_lines,
    text_page,
    text_scoring,
  )
  from pipelines.report.choice_scoring import main_score
  from pipelines.report.example_results import ExampleResults

  better, split = results.better_baseline, results.split
  if not isinstance(results, ExampleResults):
    scores = score_lines.scores_as_text(
      results.methods, results.coverage, split, better
    )
    return scores, run_page.render_run_page(results)
  data['question'] = results.question.name
  if isinstance(results, text_scoring.TextResults):
    score, render = text_scoring.SCORE, text_page.render_text_page
  elif isinstance(results, rank_scoring.RankResults):
    score, render = rank_scoring.SCORE, rank_page.render_rank_page
  else:
    score, render = main_score(results.methods), choice_page.render_choice_page
  data['score'] = score
  scores = score_lines.examples_as_text(
    results.methods, data['coverage'], split, score, better
  )
  return scores, render(results)


def _embeddings_setting(config):
  """Returns the fingerprint of the embeddings; {} without the flag.

  Raises:
    JobError: the folder is not finished, or is for other histories.
  """
  if not config.embeddings_dir:
    return {}
  from pipelines.embeddings.embeddings_folder import input_fingerprints

  return {'embeddings': input_fingerprints(config)['embeddings']}


def _sha256(text):
  return hashlib.sha256(text.encode()).hexdigest()


if __name__ == '__main__':
  from pipelines import evaluate

  job.main(evaluate.run)
