"""AUC of "Will the user like {title}?" on TALLRec's movie set, as the decoder tells it.

    python -m benchmarks.like_decoder [--seeds=0,1,2] [--work_dir=runs/like] \
      [--methods=frozen,mixed,lora]

The probability of "Yes" is the decoder's own: its likelihood of each option
(`persoma_tf.inference.option_scores`). `frozen` goes on with the draft of
`benchmarks.like`, so its processor seconds are those of the second stage of
`runs/choice.gin`; `mixed` is the same with a mixture of the options' words in the slot,
in place of the chosen one; `lora` trains both stages, LoRA in the second. The decoder
is also asked with the histories of other users of the test, and without a history.

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

import numpy as np

from benchmarks import draft_cells, like
from benchmarks.decoding import machine
from pipelines.common import job

_RECIPE = 'runs/choice.gin'
_LORA = "--gin.train.tuning='lora'"
_MIXED = '--gin.ValueRegression.hard=False'
METHODS = {'frozen': (), 'mixed': (_MIXED,), 'lora': (_LORA,)}
_RESULTS = pathlib.Path(__file__).parent / 'results' / 'like_decoder.json'


def main() -> None:
  """Runs what is missing and writes all that is there."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--methods', default=','.join(METHODS))
  parser.add_argument('--seeds', default='0,1,2')
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
  draft = like.cell(one)
  model = one.model.with_name(f'{method}_{seed}')
  kept = model.with_suffix('.npz')
  if not kept.exists():
    shutil.rmtree(model, ignore_errors=True)
    if method != 'lora':  # goes on with the first stage that the draft had
      finished = shutil.ignore_patterns('COMPLETED', 'config.gin')
      shutil.copytree(one.model, model, ignore=finished)
    folders = one.histories, one.embeddings
    spent = draft_cells.train(model, _RECIPE, folders, seed, *METHODS[method])
    predictor, records, _ = draft_cells.load(
      model, folders, one.question, scored_options=2
    )
    took = {'spent': spent['processor_seconds'], 'steps': spent['steps']['decoder']}
    np.savez(kept, **answers(predictor, records), **took)
  own = dict(np.load(kept))
  others = ('users', 'truth', 'draft', 'value_mean_user_bias')
  return {name: draft[name] for name in others} | own


def answers(predictor, records: list[dict]) -> dict[str, np.ndarray]:
  """What the decoder answers with soft prompts of users, of others and of nobody."""
  return {
    'decoder': probabilities(predictor, records),
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
  """AUC of who answers, and the decoder's less it, mean over the seeds."""
  answers = [
    {name: x for name, x in cell.items() if name not in ('spent', 'steps')}
    for cell in cells
  ]
  return {
    'examples': len(answers[0]['truth']),
    'training_processor_seconds': [int(cell['spent']) for cell in cells],
    'decoder_steps': [int(cell['steps']) for cell in cells],
    'auc': like.compared(answers, 'auc', np.array([1.0, 0.0]), of='decoder'),
  }


if __name__ == '__main__':
  main()
