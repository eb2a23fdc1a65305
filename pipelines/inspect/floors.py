"""Tells what methods without a language model reach, before one is trained."""

import types
from typing import Any

import numpy as np

from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.embeddings.embeddings_folder import input_fingerprints
from pipelines.histories.history_records import require_users
from pipelines.report import (
  asked_examples,
  asked_question,
  choice_scoring,
  rank_scoring,
  run_results,
  scoring,
  text_scoring,
)
from pipelines.report.choice_floors import answer_choice_floors
from pipelines.report.text_scoring import SCORE
from pipelines.report.vector_answers import answer_from_vectors
from tasks import choice_metrics, metrics, rank_metrics, text_metrics
from tasks.answers.choice import Choice
from tasks.answers.rank import Rank
from tasks.labels import LabelRule

_BOUND = 'rule_on_sample'
_ENOUGH = 0.95  # share of the bound


def describe_floors(
  histories_dir: str, embeddings_dir: str, question: str = ''
) -> dict[str, Any]:
  """Scores the simple methods on the test split, as a report does later.

  Args:
    histories_dir: finished folder of the histories.
    embeddings_dir: finished folder of embed_items on them.
    question: name of one of the questions of the histories; '' for the first.

  Returns:
    JSON types. Of lists: 'path', 'split', 'users'; 'methods', F1 and share of the bound
    (none for labels of the future) by name; 'advice', a sentence. Of a choice: also
    'question' and 'examples', and 'methods' with the scores of
    `choice_metrics.option_scores`, without intervals.

  Raises:
    JobError: a folder is not finished, there are no test users or examples, or no
      question has this name.
  """
  folders = {'histories_dir': histories_dir, 'embeddings_dir': embeddings_dir}
  input_fingerprints(types.SimpleNamespace(**folders))
  info = storage.read_json(f'{histories_dir}/dataset_info.json')
  asked = [*(info.get('dataset') or {}).get('questions', {})]
  if question and question not in asked:
    raise JobError(
      f'--question={question}: {histories_dir} asks {", ".join(asked) or "MovieLens"}'
    )
  known = asked_question.questions_of(histories_dir)
  if found := known.get(question or next(iter(asked), '')):
    return _of_examples(histories_dir, embeddings_dir, found)
  require_users(histories_dir, 'test')
  return _of_lists(histories_dir, embeddings_dir, info)


def _of_lists(histories_dir, embeddings_dir, info):
  read = lambda split: run_results.read_split(histories_dir, split, info['genres'])
  train, test = read('train'), read('test')
  rule = LabelRule(**info['label_rule'])
  answers = scoring.answer_simply(train, test, info['genres'], rule)
  found = answer_from_vectors(embeddings_dir, histories_dir, info, train, test)
  answers |= {name: each.answers for name, each in found.items()}
  f1 = {
    name: metrics.weighted_scores(test.truth, answer)['f1']
    for name, answer in answers.items()
  }
  methods = {name: {'f1': value} for name, value in f1.items()}
  told = {'path': histories_dir, 'split': 'test', 'users': len(test.user_ids)}
  told['methods'] = methods
  if info['label_mode'] == 'profile':  # the rule on the history makes the labels
    bound = f1.pop(_BOUND)
    for row in methods.values():
      row['of_the_bound'] = row['f1'] / bound if bound else 0.0
  best = max(f1, key=f1.__getitem__)
  share = methods[best].get('of_the_bound')
  has = f'F1 {f1[best]:.3f}' if share is None else f'{share:.2f} of the bound'
  need = (
    'you may not need one'
    if (share or 0) >= _ENOUGH
    else 'a trained adapter has to do better'
  )
  return told | {'advice': f'{best} has {has} without a language model: {need}'}


def _of_examples(histories_dir, embeddings_dir, question):
  """Scores the simple methods on the test examples that have an answer."""
  asked_question.require_examples(histories_dir, question, 'test')
  read = asked_examples.read_asked_examples(histories_dir, question, 'test')
  read = read.take(read.samples.answers >= 0)
  samples = read.samples
  if not len(samples.asked):
    raise JobError(
      f'{histories_dir}: no example of {question.name} in the split test has an answer'
    )
  users = np.unique(samples.user_ids, return_inverse=True)[1]
  folders = histories_dir, embeddings_dir
  if isinstance(question, Rank):
    training = asked_examples.read_asked_candidates(histories_dir, question, 'train')
    values = rank_scoring.rank_floors(read, training, *folders)
    told = {
      x: rank_metrics.rank_scores(own, samples.answers) for x, own in values.items()
    }
    methods, score = _means(told), rank_scoring.SCORE
  elif isinstance(question, Choice):
    methods = _choice_methods(*folders, question, samples, users)
    score = choice_scoring.main_score(methods)
  else:
    constant, score = text_scoring.most_frequent(histories_dir, question), SCORE
    told = text_metrics.compare_texts(read.answers, [constant] * len(read.answers))
    methods = _means({'most_frequent': told})
  good = lambda name: choice_metrics.goodness(score, methods[name].get(score))
  best = max(methods, key=good)
  words = choice_metrics.WORDS | text_metrics.WORDS | rank_metrics.WORDS
  told = f'{words[score]} {methods[best][score]:.2f}'
  return {
    'path': histories_dir,
    'split': 'test',
    'question': question.name,
    'users': int(users.max()) + 1,
    'examples': len(samples.asked),
    'score': score,
    'methods': methods,
    'advice': f'{best} has {told} without a language model: a trained model has to do '
    'better',
  }


def _means(scores):
  """Returns the means of each method's scores [E]."""
  return {
    method: {name: float(x.mean()) for name, x in own.items()}
    for method, own in scores.items()
  }


def _choice_methods(histories_dir, embeddings_dir, question, samples, users):
  """Returns the scores of the simple methods on examples of a choice."""
  floors = answer_choice_floors(histories_dir, question, samples, embeddings_dir)
  return {
    name: choice_metrics.option_scores(
      samples.answers,
      users,
      found.answers,
      len(question.options),
      question.numbers,
      samples=0,
    )
    for name, found in floors.items()
  }
