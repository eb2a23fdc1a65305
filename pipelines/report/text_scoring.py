"""Scores of a run that answered in free words, beside controls without a model."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.report import example_results
from pipelines.report.example_results import ExampleResults
from tasks import choice_metrics, text_metrics
from tasks.answers.text import Text

SCORE = 'rouge_l'  # that methods are compared by
_OURS, _CONTROLS = 'persoma', ('most_frequent', 'swapped_users')


@dataclasses.dataclass(frozen=True)
class TextResults(ExampleResults):
  """Holds everything that the page of a text shows.

  Attributes:
    scores: method -> name of a score -> [E] float64.
  """

  scores: Mapping[str, Mapping[str, np.ndarray]]


def score_text_run(
  question: Text,
  histories_dir: str,
  predictions_dir: str,
  predicted: Mapping[str, Any],
  run_info: Mapping[str, Any],
  training: Mapping[str, str],
  embeddings_dir: str = '',
) -> TextResults:
  """Reads the examples and their predictions, and scores the texts.

  Args:
    question: words of the question.
    histories_dir: finished folder of the histories.
    predictions_dir: finished folder of the predictions.
    predicted: settings in `COMPLETED` of the predictions.
    run_info: `run` of `metrics.json`, with `seed` and `bootstrap_samples`.
    training: files of the model's training, as `read_training` returns them.
    embeddings_dir: not read; no method without a model reads vectors.

  Raises:
    JobError: an example has no prediction and was not rejected, or none has an answer.
  """
  del embeddings_dir
  answered = example_results.read_answered_examples(
    question, histories_dir, predictions_dir, predicted
  )
  truth, users = answered.examples.answers, answered.users
  written = [row['answer'] or '' for row in answered.rows]
  constant = most_frequent(histories_dir, question)
  scores = {
    'persoma': text_metrics.compare_texts(truth, written),
    'most_frequent': text_metrics.compare_texts(truth, [constant] * len(truth)),
  }
  # Where prompts differ, another user's text is of another question, too.
  if users.max() > 0 and not question.template.fields:
    seed = run_info['seed']
    swapped = text_metrics.swapped_scores(truth, written, users, seed=seed)
    scores['swapped_users'] = swapped
  methods = {name: summarize(own, users, run_info) for name, own in scores.items()}
  methods['most_frequent']['settings'] = {'text': constant}
  methods['persoma']['parse_failures'] = sum(not x['parse_ok'] for x in answered.rows)
  return TextResults(
    question=question,
    answered=answered,
    scores=scores,
    methods=methods,
    better_baseline=better_control(scores, users, methods, run_info),
    **example_results.read_shown(question, histories_dir),
    split=predicted['split'],
    run=run_info,
    training=training,
  )


def most_frequent(histories_dir: str, question: Text) -> str:
  """Returns the most frequent text of the training; '' without any.

  Of several, it is the first in the order of texts.

  Args:
    histories_dir: finished folder of the histories.
    question: words of the question.
  """
  counted = Counter(example_results.read_answer_texts(histories_dir, question, 'train'))
  return min(counted, key=lambda text: (-counted[text], text), default='')


def summarize(
  scores: Mapping[str, np.ndarray], users: np.ndarray, run_info: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns means and 95 % intervals over users of a method, as in `metrics.json`.

  Args:
    scores: name -> [E] float64.
    users: [E] int, number of each example's user.
    run_info: holds `seed` and `bootstrap_samples`.
  """
  number = np.bincount(users)
  measures = {name: _mean_of(own, users, number) for name, own in scores.items()}
  samples, seed = run_info['bootstrap_samples'], run_info['seed']
  found: dict[str, Any] = {name: float(own.mean()) for name, own in scores.items()}
  if samples:
    intervals = choice_metrics.bootstrap_measures(
      measures, len(number), samples=samples, seed=seed
    )
    for name, (low, high) in intervals.items():
      found |= {f'{name}_low': float(low), f'{name}_high': float(high)}
  return {**found, 'users': len(number), 'examples': len(users), 'parse_failures': 0}


def _mean_of(values, users, number) -> choice_metrics.Measure:
  total = np.bincount(users, values)
  return lambda drawn: (drawn @ total) / (drawn @ number)


def better_control(
  scores: Mapping[str, Mapping[str, np.ndarray]],
  users: np.ndarray,
  methods: Mapping[str, Mapping[str, Any]],
  run_info: Mapping[str, Any],
) -> dict[str, Any] | None:
  """Compares the best control with the model; None if the model scores higher.

  Args:
    scores: scores [E] of each method.
    users: [E] int, number of each example's user.
    methods: scores of each method, as in `metrics.json`.
    run_info: holds `seed` and `bootstrap_samples`.

  Returns:
    As `choice_scoring.better_floor`.
  """
  known = [name for name in _CONTROLS if name in methods]
  name = max(known, key=lambda name: methods[name][SCORE])
  best, ours = methods[name][SCORE], methods[_OURS][SCORE]
  if best <= ours:
    return None
  apart = scores[name][SCORE] - scores[_OURS][SCORE]
  found = summarize({'difference': apart}, users, run_info)
  low, high = (found.get(f'difference_{x}') for x in ('low', 'high'))
  interval = (
    ''
    if low is None
    else (f' with the 95 % interval {low:.3f} to {high:.3f} over users')
  )
  return {
    'method': name,
    'score': SCORE,
    SCORE: best,
    'difference': found['difference'],
    'difference_low': low,
    'difference_high': high,
    'text': (
      f'persoma scores below {name}, which knows nothing of the user: ROUGE-L '
      f'{ours:.3f} against {best:.3f}, a difference of {best - ours:.3f}{interval}.'
    ),
  }
