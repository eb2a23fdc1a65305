"""AUC of "Will the user like {title}?" on TALLRec's movie set, as the decoder tells it.

    python -m benchmarks.like_decoder [--seeds=0,1,2] [--work_dir=runs/like] \
      [--methods=frozen,answers,word,lora,text,text_zero_shot] [--text_steps=12]

The probability of "Yes" is the decoder's own: its likelihood of each option
(`persoma_tf.inference.option_scores`). `frozen` goes on with the draft of
`benchmarks.like`, so its processor seconds are those of the second stage of
`runs/choice.gin`, whose targets are the draft's probabilities; `answers` is the same
with the true answers as targets; `word` has also the draft's chosen word in the slot,
in place of the mixture of all options; `lora` trains both stages with the answers, LoRA
in the second. `text` has no soft tokens: the same decoder reads the ten films as text
(`runs/choice_text.gin`) and trains LoRA for `--text_steps`, which are to cost what
`lora` does: compare the processor seconds. `text_zero_shot` is not trained at all. Both
answer every fourth row, for a prompt has about 400 tokens. The decoder behind soft
tokens is also asked with the histories of other users of the test, and without a
history.

Answers are kept in the work folder and are not asked for again. Adds to
`benchmarks/results/like_decoder.json`; intervals are bootstrapped over users, of the
mean over the seeds.
"""

import argparse
import json
import pathlib
import shutil
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks import draft_cells, like
from benchmarks.decoding import machine
from pipelines.common import job


class Method(NamedTuple):
  """How a model is trained, and asked.

  Attributes:
    recipe: gin file.
    flags: more flags of the trainer.
    goes_on: whether it goes on with the draft's first stage.
    swaps: whether it is asked with other histories, too.
    every: 1 for all rows, 4 for every fourth.
  """

  recipe: str
  flags: tuple[str, ...] = ()
  goes_on: bool = False
  swaps: bool = True
  every: int = 1


_RECIPE, _TEXT = 'runs/choice.gin', 'runs/choice_text.gin'
_TEN_FILMS = '--gin.history_limits.text_tokens=512'
_NO_UPDATE = '--gin.decoder/Stage.steps=1', '--gin.decoder/Stage.learning_rate=0.0'
_ANSWERS = '--gin.decoder/Stage.soft_targets=0.0'
_WORD = (
  '--gin.ValueRegression.hard=True',
  '--gin.decoder/Stage.teach=True',
  _ANSWERS,
)
METHODS = {
  'frozen': Method(_RECIPE, goes_on=True),
  'word': Method(_RECIPE, _WORD, goes_on=True),
  'answers': Method(_RECIPE, (_ANSWERS,), goes_on=True),
  'lora': Method(_RECIPE, ("--gin.train.tuning='lora'", _ANSWERS)),
  'text': Method(_TEXT, (_TEN_FILMS,), swaps=False, every=4),
  'text_zero_shot': Method(_TEXT, (_TEN_FILMS, *_NO_UPDATE), swaps=False, every=4),
}
_NUMBERS = np.array([1.0, 0.0])
_RESULTS = pathlib.Path(__file__).parent / 'results' / 'like_decoder.json'


def main() -> None:
  """Runs what is missing and writes all that is there."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--methods', default=','.join(METHODS))
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--text_steps', type=int, default=12)
  parser.add_argument('--work_dir', default='runs/like')
  flags = parser.parse_args()
  flags.question, flags.data = 'like', ''
  seeds = [*map(int, flags.seeds.split(','))]
  found = json.loads(_RESULTS.read_text())['results'] if _RESULTS.exists() else {}
  for method in flags.methods.split(','):
    cells = [cell(flags, method, seed) for seed in seeds]
    found[method] = {'seeds': seeds, **summary(cells)}
    print(method, json.dumps(found[method], indent=2))
    about = {
      'command': 'python -m benchmarks.like_decoder',
      'date': time.strftime('%Y-%m-%d'),
      'machine': machine(),
      'versions': job.versions('jax', 'flax'),
      'results': found,
    }
    _RESULTS.write_text(json.dumps(about, indent=2) + '\n')


def cell(flags: argparse.Namespace, method: str, seed: int) -> dict[str, np.ndarray]:
  """Answers of a method, and of the methods of `benchmarks.like` to the same rows.

  Returns:
    'users' and 'truth' [E], probabilities of "Yes" [E] by who answers, and the cost.
  """
  one = like.Cell(flags, 'tallrec', 0, seed)
  draft, how = like.cell(one), METHODS[method]
  model = one.model.with_name(f'{method}_{seed}')
  kept = model.with_suffix('.npz')
  if not kept.exists():
    shutil.rmtree(model, ignore_errors=True)
    more = ()
    if how.goes_on:
      finished = shutil.ignore_patterns('COMPLETED', 'config.gin')
      shutil.copytree(one.model, model, ignore=finished)
    if method == 'text':
      more = (f'--gin.decoder/Stage.steps={flags.text_steps}',)
    folders = one.histories, one.embeddings
    spent = draft_cells.train(model, how.recipe, folders, seed, *how.flags, *more)
    predictor, records, _ = draft_cells.load(
      model, folders, one.question, scored_options=2
    )
    took = {'spent': spent['processor_seconds'], 'steps': spent['steps']['decoder']}
    np.savez(kept, **answers(predictor, records[:: how.every], how.swaps), **took)
  own = dict(np.load(kept))
  others = ('users', 'truth', 'draft', 'value_mean_user_bias')
  return {name: draft[name][:: how.every] for name in others} | own


def answers(predictor, records: list[dict], swaps: bool) -> dict[str, np.ndarray]:
  """What the decoder answers with histories of users, and of others and of nobody."""
  own = {'decoder': probabilities(predictor, records)}
  if not swaps:
    return own
  return own | {
    'decoder, other user': probabilities(predictor, swapped(records)),
    'decoder, no history': probabilities(predictor, without_history(records)),
  }


def probabilities(predictor, records: Sequence[dict]) -> np.ndarray:
  """The decoder's probability of the first option, [E]."""
  return np.array(
    [x.row['decoder_probabilities'][0] for x in predictor.predict(records)]
  )


def swapped(records: Sequence[dict]) -> list[dict]:
  """The same questions with the histories of other users."""
  rng, found = np.random.default_rng(0), []
  for record in records:
    other = record
    while other['user_id'] == record['user_id']:
      other = records[rng.integers(len(records))]
    found.append(record | _history(other))
  return found


def without_history(records: Sequence[dict]) -> list[dict]:
  """The same questions about users without a history."""
  return [
    record | {name: values[:0] for name, values in _history(record).items()}
    for record in records
  ]


def _history(record):
  names = [x for x in record if x.startswith('history_') and x != 'history_total']
  return {name: record[name] for name in names}


def summary(cells: Sequence[dict[str, np.ndarray]]) -> dict:
  """Scores of who answers, and the decoder's less them, mean over the seeds."""
  answers = [
    {name: x for name, x in cell.items() if name not in ('spent', 'steps')}
    for cell in cells
  ]
  odds = [
    {name: x for name, x in own.items() if name != 'value_mean_user_bias'}
    for own in answers
  ]
  return {
    'examples': len(answers[0]['truth']),
    'training_processor_seconds': [int(cell['spent']) for cell in cells],
    'decoder_steps': [int(cell['steps']) for cell in cells],
    'auc': like.compared(answers, 'auc', _NUMBERS, of='decoder'),
    'log_loss': like.compared(odds, 'log_loss', _NUMBERS, of='decoder'),
  }


if __name__ == '__main__':
  main()
