"""Scores of a run that answered in free words, beside controls without a model."""

import dataclasses
from collections import Counter
from collections.abc import Mapping

import numpy as np

from pipelines.report import asked_examples
from pipelines.report.example_means import better_method, summarize
from pipelines.report.example_results import ExampleResults
from pipelines.report.example_run import ExampleRun
from tasks import text_metrics
from tasks.answers.text import Text

SCORE = 'rouge_l'  # that methods are compared by
_CONTROLS, _KNOWS = ('most_frequent', 'swapped_users'), 'knows nothing of the user'


@dataclasses.dataclass(frozen=True)
class TextResults(ExampleResults):
  """Holds everything that the page of a text shows.

  Attributes:
    scores: method -> name of a score -> [E] float64.
  """

  scores: Mapping[str, Mapping[str, np.ndarray]]


def score_text_run(run: ExampleRun) -> TextResults:
  """Scores the texts of a run and of controls without a model."""
  question, answered, run_info = run.question, run.answered, run.run_info
  truth, users = answered.examples.answers, answered.users
  written = [row['answer'] or '' for row in answered.rows]
  constant = most_frequent(run.histories_dir, question)
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
    scores=scores,
    methods=methods,
    better_baseline=better_method(
      scores, users, methods, run_info, SCORE, ('persoma', _CONTROLS), 'ROUGE-L', _KNOWS
    ),
    **run.shown,
  )


def most_frequent(histories_dir: str, question: Text) -> str:
  """Returns the most frequent text of the training; '' without any.

  Of several, it is the first in the order of texts.

  Args:
    histories_dir: finished folder of the histories.
    question: words of the question.
  """
  counted = Counter(asked_examples.read_answer_texts(histories_dir, question, 'train'))
  return min(counted, key=lambda text: (-counted[text], text), default='')
