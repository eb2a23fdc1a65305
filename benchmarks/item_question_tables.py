"""Tables about questions of single items; `benchmarks.tables` writes them."""

from collections.abc import Callable, Mapping

from benchmarks.result_files import RESULTS, markdown, read
from tasks.rank_metrics import WORDS

_METHODS = {
  'draft': 'the draft',
  'value_mean_user_bias': "mean value of the item, the user's mean deviation",
  'matrix_factorization': 'matrix factorization (scikit-surprise)',
  'item_mean_user_bias': "the item's share, the user's mean deviation, fitted",
  'logistic_regression': 'logistic regression on pooled × item vectors',
  'item_mean': "the item's share of answers",
  'majority': "the training's shares of answers",
}
_DECODER = {
  'frozen': 'frozen',
  'answers': 'frozen, taught with answers',
  'word': 'frozen, the chosen word in the slot',
  'lora': 'LoRA',
  'text': 'LoRA, the films as text',
  'text_zero_shot': 'the films as text, untrained',
}
_RANKING = {
  'draft': 'the draft',
  'item_neighbours': 'item-based collaborative filtering',
  'popularity': 'number of ratings',
  'candidate_share': 'how often a candidate was the answer in the training',
  'pooled_cosine': 'likeness of the vectors',
  'random': 'chance',
}
_SHELVES = {
  'persoma': "the decoder behind the reader's soft prompt",
  'another reader': "behind another reader's",
  'no history': 'behind that of an empty history',
  'shares': "the training's shares of the words",
  'most frequent': 'the most frequent name',
  'rule': 'the rule that made the names',
}


def like() -> str:
  """AUC of each method on each set."""
  return _of_sets({'AUC': ('like', 'auc')})


def stars() -> str:
  """Errors of each method on each set."""
  return _of_sets({'MAE': ('stars', 'mae'), 'RMSE': ('stars', 'rmse')})


def _of_sets(scores: Mapping[str, tuple[str, str]]) -> str:
  columns = {
    f'{name}{_part(found)}, {word}': found[score]
    for word, (question, score) in scores.items()
    for name, found in read(question)['results'].items()
  }
  rows = [
    [what, *(_value(column.get(method)) for column in columns.values())]
    for method, what in _METHODS.items()
  ]
  less = [x for x in _METHODS if x in ('value_mean_user_bias', 'matrix_factorization')]
  for method in less:
    cells = [_value(x.get(f'draft less {method}'), 3) for x in columns.values()]
    rows.append([f'the draft less: {_METHODS[method]}', *cells])
  return markdown(['', *columns], rows)


def _part(found):
  folds, of_folds = len(found['folds']), found['of_folds']
  return '' if folds == of_folds else f' ({folds} of {of_folds} folds)'


def _value(found, digits=3):
  """0.782 (0.709 to 0.850): the value and its interval."""
  if found is None:
    return 'not run'
  low, high = found['interval']
  return f'{found["value"]:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})'


def like_decoder() -> str:
  """AUC and log loss of the decoder's own probabilities on TALLRec's set."""
  names = {'decoder': 'its answer', 'decoder, other user': "another user's history"}
  names |= {'decoder, no history': 'no history', 'draft': 'the draft, same rows'}
  results = read('like_decoder')['results']
  rows = [
    [
      what,
      f'{found["examples"]:,}',
      *(_value(found['auc'].get(name)) for name in names),
      *(f'{found["log_loss"][name]["value"]:.3f}' for name in ('decoder', 'draft')),
      ', '.join(f'{x} s' for x in found['training_processor_seconds']),
    ]
    for method, what in _DECODER.items()
    if (found := results.get(method))
  ]
  names = [f'AUC: {x}' for x in names.values()]
  columns = ['decoder', 'rows', *names, 'log loss: its answer', 'the draft']
  return markdown([*columns, 'its training'], rows)


def questions() -> str:
  """Each question's draft beside the best method without a language model."""
  asked = {
    'Will the user like {title}?': ('like', 'auc', 'AUC', max, _METHODS),
    'How many stars will the user give?': (
      'stars',
      'mae',
      'absolute error',
      min,
      _METHODS,
    ),
    'Which of 20 will the user watch next?': (
      'rank',
      'ndcg_at_10',
      'NDCG@10',
      max,
      _RANKING,
    ),
  }
  rows = []
  for question, (file, score, word, better, methods) in asked.items():
    for name, found in read(file)['results'].items():
      own = {x: found[score][x] for x in methods if x != 'draft' and x in found[score]}
      best = better(own, key=lambda x, own=own: own[x]['value'])
      cells = _value(found[score]['draft']), f'{_value(own[best])}, {methods[best]}'
      less = _value(found[score][f'draft less {best}'])
      rows.append([question, name, word, *cells, less])
  columns = ['question', 'data', 'score', 'our draft', 'the best other method']
  return markdown([*columns, 'ours less this'], rows)


def rank() -> str:
  """Scores of rankings, by set and negatives."""
  rows = []
  for name, found in read('rank')['results'].items():
    for method, what in _RANKING.items():
      rows.append([name, what, *(_value(found[x][method]) for x in WORDS)])
  return markdown(['', '', *WORDS.values()], rows)


def shelves() -> str:
  """Nats a token and scores of the texts, of each method."""
  found, rows = read('shelves'), []
  of, less = found['results'], found['persoma less']
  for method, what in _SHELVES.items():
    own = [of.get(f'nats {method}'), less.get(f'nats {method}')]
    own += [of.get(f'{score} {method}') for score in ('rouge_l', 'chrf')]
    rows.append([what, *(_value(x) if x else '' for x in own)])
  columns = ['', 'nats a token', 'the first row less this', 'ROUGE-L', 'chrF']
  return markdown(columns, rows)


TABLES: dict[str, Callable[[], str]] = {
  name: table
  for name, table in {
    'like': like,
    'stars': stars,
    'like-decoder': like_decoder,
    'rank': rank,
    'shelves': shelves,
  }.items()
  if (RESULTS / f'{name.replace("-", "_")}.json').exists()
} | {'questions': questions}  # of several results
