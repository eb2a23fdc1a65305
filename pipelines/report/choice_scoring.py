"""Scores of a run that answered a choice, beside methods that need no model."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.report.choice_floors import CHOICE_FLOORS, answer_choice_floors
from pipelines.report.example_results import ExampleResults
from pipelines.report.example_run import ExampleRun
from tasks import choice_metrics
from tasks.answers.choice import Choice
from tasks.choice_metrics import OptionAnswers


@dataclasses.dataclass(frozen=True)
class ChoiceResults(ExampleResults):
  """Holds everything that the page of a choice shows.

  Attributes:
    answers: answers of each method.
  """

  answers: Mapping[str, OptionAnswers]

  @property
  def truth(self) -> np.ndarray:
    """Returns the number of the right option of each example, [E] int."""
    return self.answered.examples.samples.answers


def score_choice_run(run: ExampleRun) -> ChoiceResults:
  """Scores the answers of a run and of methods without a model."""
  question, answered, run_info = run.question, run.answered, run.run_info
  samples, rows, users = answered.examples.samples, answered.rows, answered.users
  floors = answer_choice_floors(
    run.histories_dir, question, samples, run.embeddings_dir
  )
  answers = answers_of_model(rows, question.options)
  answers |= {name: x.answers for name, x in floors.items()}
  failures = sum(not row['parse_ok'] for row in rows)
  methods = score_choices(samples.answers, users, answers, question, run_info, failures)
  for name, found in floors.items():
    if found.settings:
      methods[name]['settings'] = dict(found.settings)
  return ChoiceResults(
    answers=answers,
    methods=methods,
    better_baseline=better_floor(
      samples.answers, users, answers, methods, question, run_info
    ),
    **run.shown,
  )


def answers_of_model(
  rows: Sequence[Mapping[str, Any]], options: Sequence[str]
) -> dict[str, OptionAnswers]:
  """Returns the answers of the model, and those of its draft if it makes one.

  Args:
    rows: rows of the prediction table.
    options: O texts.
  """
  number = {text: at for at, text in enumerate(options)}
  chosen = lambda name: np.array([number.get(row.get(name), -1) for row in rows], int)
  told = lambda name: _probabilities(rows, name, len(options))
  found = {'persoma': OptionAnswers(chosen('answer'), told('decoder_probabilities'))}
  draft = chosen('draft_answer')
  if (draft >= 0).any():
    found['draft'] = OptionAnswers(draft, told('draft_probabilities'))
  return found


def _probabilities(rows, name, num_options):
  """Returns a column's probabilities [E, O] with the sum 1; None if any lack."""
  told = [row.get(name) or () for row in rows]
  if any(len(x) != num_options for x in told):
    return None
  found = np.array(told, np.float64)
  return found / found.sum(axis=1, keepdims=True)


def score_choices(
  truth: np.ndarray,
  users: np.ndarray,
  answers: Mapping[str, OptionAnswers],
  question: Choice,
  run_info: Mapping[str, Any],
  failures: int = 0,
) -> dict[str, dict[str, Any]]:
  """Returns scores and 95 % intervals of every method, as in `metrics.json`.

  Args:
    truth: [E] int, number of the right option.
    users: [E] int, number of each example's user.
    answers: answers of each method.
    question: words of the choice.
    run_info: holds `seed` and `bootstrap_samples`.
    failures: number of the model's answers that could not be parsed.
  """
  bootstrap = {'samples': run_info['bootstrap_samples'], 'seed': run_info['seed']}
  score = lambda x: choice_metrics.option_scores(
    truth, users, x, len(question.options), question.numbers, **bootstrap
  )
  return {
    name: {
      **score(answer),
      'parse_failures': failures if name == 'persoma' else 0,
      'users': int(users.max()) + 1,
      'examples': len(truth),
    }
    for name, answer in answers.items()
  }


def best_of_ours(methods: Mapping[str, Mapping[str, Any]], score: str) -> str:
  """Returns the better one of the model and its draft.

  The decoder reads which option the draft chose, and not how probable it is. So the
  draft's probabilities rank examples better than those of the text.
  """
  known = [name for name in ('persoma', 'draft') if name in methods]
  good = lambda name: choice_metrics.goodness(score, methods[name].get(score))
  return max(known, key=good)


def main_score(methods: Mapping[str, Mapping[str, Any]]) -> str:
  """Returns the score that methods are compared by: 'rmse', 'auc' or 'accuracy'.

  It is the error of numbers if the options are numbers. Else it is the AUC if the model
  or its draft has one, since it depends on no threshold.
  """
  if 'rmse' in methods['majority']:
    return 'rmse'
  ours = [methods[x] for x in ('persoma', 'draft') if x in methods]
  known = any(row.get('auc') is not None for row in ours or [methods['majority']])
  return 'auc' if known else 'accuracy'


def better_floor(
  truth: np.ndarray,
  users: np.ndarray,
  answers: Mapping[str, OptionAnswers],
  methods: Mapping[str, Mapping[str, Any]],
  question: Choice,
  run_info: Mapping[str, Any],
) -> dict[str, Any] | None:
  """Finds the best method without a language model and compares it with the model.

  Args:
    truth: [E] int, number of the right option.
    users: [E] int, number of each example's user.
    answers: answers of each method.
    methods: scores of each method.
    question: words of the choice.
    run_info: holds `seed` and `bootstrap_samples`.

  Returns:
    {'method', 'score', the score's value under its name, 'difference',
    'difference_low', 'difference_high', 'text'}: by how much the method is better than
    the model, the 95 % interval of this difference over users, and all of it as a
    sentence. None if no method has a better score than the model.
  """
  score = main_score(methods)
  known = [name for name in CHOICE_FLOORS if name in methods]
  good = lambda name: choice_metrics.goodness(score, methods[name].get(score))
  name, model = max(known, key=good), best_of_ours(methods, score)
  best, ours = methods[name][score], methods[model][score]
  if good(name) <= good(model):
    return None
  theirs, own = (
    choice_metrics.choice_measures(
      truth, users, answers[x], len(question.options), question.numbers
    )
    for x in (name, model)
  )
  apart = lambda drawn: choice_metrics.goodness(score, theirs[score](drawn))
  compared = {
    'difference': lambda drawn: (
      apart(drawn) - choice_metrics.goodness(score, own[score](drawn))
    )
  }
  samples, seed = run_info['bootstrap_samples'], run_info['seed']
  low, high = choice_metrics.bootstrap_measures(
    compared, users.max() + 1, samples=samples, seed=seed
  )['difference']
  word = choice_metrics.WORDS[score]
  return {
    'method': name,
    'score': score,
    score: best,
    'difference': abs(best - ours),
    'difference_low': low,
    'difference_high': high,
    'text': (
      f'{model} scores below {name}, which needs no language model: {word} {ours:.3f} '
      f'against {best:.3f}, a difference of {abs(best - ours):.3f} with the 95 % '
      f'interval {low:.3f} to {high:.3f} over users.'
    ),
  }
