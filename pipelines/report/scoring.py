"""Scores of a run: the answers of the model and of methods that need none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.predictions.prediction_files import read_predictions
from pipelines.report import run_results
from pipelines.report.better_baseline import find_better_baseline
from pipelines.report.run_results import Labelled, RunResults
from pipelines.report.vector_answers import answer_from_vectors
from tasks import baselines, metrics
from tasks.answers.lists import Answer
from tasks.labels import LabelRule


def score_run(
  histories_dir: str,
  predictions_dir: str,
  predicted: Mapping[str, Any],
  run_info: Mapping[str, Any],
  training: Mapping[str, str],
  embeddings_dir: str = '',
) -> RunResults:
  """Reads the users and their predictions, and scores every method on them.

  Args:
    histories_dir: finished folder of the histories.
    predictions_dir: finished folder of the predictions.
    predicted: settings in `COMPLETED` of the predictions.
    run_info: `run` of `metrics.json`, with `seed` and `bootstrap_samples`.
    training: files of the model's training, as `read_training` returns them.
    embeddings_dir: finished folder of the item vectors, for the methods that read them;
      '' leaves these out.

  Raises:
    JobError: a user has no prediction and was not rejected, or no user has a label.
  """
  info = storage.read_json(f'{histories_dir}/dataset_info.json')
  split, kind, genres = predicted['split'], predicted['format'], info['genres']
  by_user = {row['user_id']: row for row in read_predictions(predictions_dir, kind)}
  test = run_results.read_split(histories_dir, split, genres, by_user)
  train = run_results.read_split(histories_dir, 'train', genres)
  predictions = storage.read_json(f'{predictions_dir}/run_info.json')
  coverage = run_results.check_coverage(test, predictions.get('rejects', 0))
  _check_labels(histories_dir, split, test)
  rows = [by_user[user] for user in test.user_ids]
  answers = answer_all(rows, train, test, genres, LabelRule(**info['label_rule']))
  chosen = {}
  if embeddings_dir:
    chosen = answer_from_vectors(embeddings_dir, histories_dir, info, train, test)
    answers |= {name: found.answers for name, found in chosen.items()}
  failures = sum(not row['parse_ok'] for row in rows)
  methods = score_methods(test.truth, answers, failures, run_info)
  for name, found in chosen.items():
    methods[name]['settings'] = dict(found.settings)
  better = find_better_baseline(test.truth, answers, methods, run_info)
  control = _score_control(test.truth, answers['persoma'], failures, run_info['seed'])
  return RunResults(
    users=test,
    coverage=coverage,
    rows=rows,
    answers=answers,
    methods=methods | control,
    better_baseline=better,
    titles=run_results.read_titles(histories_dir),
    info=info,
    split=split,
    run=run_info,
    predictions=predictions,
    training=training,
  )


def _check_labels(histories_dir, split, test):
  """Checks that there is something to score.

  Raises:
    JobError: no user has a label.
  """
  if not test.truth.any():
    raise JobError(
      f'{histories_dir}: none of the {len(test.user_ids):,} users of the split {split} '
      'has a label, so there is nothing to score: make histories with a smaller '
      '--label_min_count, other label thresholds or longer histories'
    )


def answer_all(
  rows: Sequence[Mapping[str, Any]],
  train: Labelled,
  test: Labelled,
  genres: Sequence[str],
  rule: LabelRule,
) -> dict[str, np.ndarray]:
  """Returns the answers [U, 2G] bool of each method that reads no item vectors.

  Args:
    rows: prediction of each user of `test`.
    train: users whose labels the constant answer is chosen by.
    test: users to answer.
    genres: G names.
    rule: label rule of the histories.
  """
  # Tables of older versions have no draft.
  side = lambda row, name: row.get(name) or ()
  said = lambda kind: [
    Answer(side(row, f'{kind}_liked'), side(row, f'{kind}_disliked')) for row in rows
  ]
  return {
    'persoma': metrics.indicator(said('predicted'), genres),
    **_draft_alone(metrics.indicator(said('draft'), genres)),
    **answer_simply(train, test, genres, rule),
  }


def answer_simply(
  train: Labelled, test: Labelled, genres: Sequence[str], rule: LabelRule
) -> dict[str, np.ndarray]:
  """Returns the answers [U, 2G] bool of methods that need neither model nor vectors.

  Args:
    train: users whose labels the constant answer is chosen by.
    test: users to answer.
    genres: G names.
    rule: label rule of the histories.
  """
  constant = baselines.constant(train.truth, rule.top)
  return {
    'constant': np.tile(constant, (len(test.user_ids), 1)),
    'counting': baselines.counting([x for x, _ in test.samples], len(genres), rule.top),
    'rule_on_sample': baselines.rule_on_sample(test.samples, len(genres), rule),
  }


def _draft_alone(answers):
  """Returns the draft as a method; {} if the model's soft prompts name no genre."""
  return {'draft': answers} if answers.any() else {}


def score_methods(
  truth: np.ndarray,
  answers: Mapping[str, np.ndarray],
  failures: int,
  run_info: Mapping[str, Any],
) -> dict[str, dict[str, float]]:
  """Returns scores and 95 % intervals of every method, as in `metrics.json`.

  Args:
    truth: [U, 2G] bool.
    answers: [U, 2G] bool of each method.
    failures: number of the model's answers that could not be parsed.
    run_info: holds `seed` and `bootstrap_samples`.
  """
  bootstrap = {'samples': run_info['bootstrap_samples'], 'seed': run_info['seed']}
  methods = {}
  for name, answer in answers.items():
    low, high = metrics.bootstrap_f1(truth, answer, **bootstrap)
    methods[name] = {
      **metrics.weighted_scores(truth, answer),
      'f1_low': low,
      'f1_high': high,
      'parse_failures': failures if name == 'persoma' else 0,
      'users': len(truth),
    }
  return methods


def _score_control(truth, predicted, failures, seed):
  """Returns the row of `swapped_users`, which has no interval; {} for a single user."""
  scores = baselines.swapped_users(truth, predicted, seed=seed)
  row = {**scores, 'parse_failures': failures, 'users': len(truth)}
  return {'swapped_users': row} if scores else {}
