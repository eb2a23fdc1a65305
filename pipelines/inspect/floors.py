"""Tells what methods without a language model reach, before one is trained."""

import types
from typing import Any

from pipelines.common import storage
from pipelines.embeddings.embeddings_folder import input_fingerprints
from pipelines.histories.history_records import require_users
from pipelines.report import run_results, scoring
from pipelines.report.vector_answers import answer_from_vectors
from tasks import metrics
from tasks.labels import LabelRule

_BOUND = 'rule_on_sample'
_ENOUGH = 0.95  # share of the bound


def describe_floors(histories_dir: str, embeddings_dir: str) -> dict[str, Any]:
  """Scores the simple methods on the test users, as a report does later.

  Args:
    histories_dir: finished folder of the histories.
    embeddings_dir: finished folder of embed_items on them.

  Returns:
    JSON types: 'path', 'split', 'users'; 'methods', F1 and share of the bound by name;
    'advice', a sentence.

  Raises:
    JobError: a folder is not finished, or there are no test users.
  """
  folders = {'histories_dir': histories_dir, 'embeddings_dir': embeddings_dir}
  input_fingerprints(types.SimpleNamespace(**folders))
  require_users(histories_dir, 'test')
  info = storage.read_json(f'{histories_dir}/dataset_info.json')
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
  bound = f1.pop(_BOUND)
  share = {name: value / bound if bound else 0.0 for name, value in f1.items()}
  best = max(f1, key=f1.__getitem__)
  return {
    'path': histories_dir,
    'split': 'test',
    'users': len(test.user_ids),
    'methods': {
      _BOUND: {'f1': bound, 'of_the_bound': 1.0},
      **{name: {'f1': f1[name], 'of_the_bound': share[name]} for name in f1},
    },
    'advice': f'{best} has {share[best]:.2f} of the bound without a language model: '
    + (
      'you may not need one'
      if share[best] >= _ENOUGH
      else 'a trained adapter has to do better'
    ),
  }
