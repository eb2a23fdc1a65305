"""Answers in free words: what the soft prompt tells the decoder of a reader's shelf.

    python -m benchmarks.shelves [--readers=1000] [--seeds=0,1,2] \
      [--work_dir=runs/shelves]

Readers of generated books (`examples.books.make_data`) call their shelf by two words,
which stand for the two subjects that they rate best, in one of four ways each.
`runs/text.gin` trains a draft of the first words for a frozen decoder. Nats a token of
the true names, with their ends, of the test readers:

- `persoma`, `another reader` and `no history`: the decoder behind the soft prompt of
  the reader, of somebody else, and of an empty history.
- `shares`: the training's shares of first and of last words, which know nobody.
- `rule`: the way the names were made, on the same interactions: every word of the two
  best subjects is as probable, and with 1 of 10 the answer is that of the shares.

The texts that the decoder writes are scored by ROUGE-L and chrF beside the most
frequent name of the training. A trained seed is kept in the work folder. Writes
`benchmarks/results/shelves.json`; intervals are bootstrapped over readers, paired, of
the mean over the seeds.
"""

import argparse
import collections
import csv
import json
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
import optax
import pyarrow.parquet as pq
import seqio
import yaml

from benchmarks import draft_cells
from benchmarks.decoding import machine
from benchmarks.result_files import RESULTS, ROOT
from examples.books import make_data
from persoma_tf.model import Persoma
from persoma_tf.training.feature_converter import HistoryFeatureConverter
from pipelines.common import job
from pipelines.report.asked_examples import read_answer_texts
from pipelines.report.text_scoring import most_frequent
from tasks import text_metrics
from tasks.predictor import Predictor
from tasks.text_prediction import text_lengths

_QUESTION = 'book_shelf_v1'
_BATCH = 32
_DRAWS = 1_000
_OF_SHARES = 0.1
_HISTORY = ('history_embeddings', 'history_mask')


def main() -> None:
  """Runs what is missing and writes all that is there."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--readers', type=int, default=1_000)
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--work_dir', type=pathlib.Path, default='runs/shelves')
  flags = parser.parse_args()
  seeds = [*map(int, flags.seeds.split(','))]
  make_data.write(flags.work_dir / 'data', flags.readers, 200, 0)
  cells = [cell(flags.work_dir, seed) for seed in seeds]
  about = {
    'command': 'python -m benchmarks.shelves',
    'date': time.strftime('%Y-%m-%d'),
    'machine': machine(),
    'versions': job.versions('jax', 'flax'),
    'readers': flags.readers,
    'seeds': seeds,
    **summary(cells),
  }
  (RESULTS / 'shelves.json').write_text(json.dumps(about, indent=2) + '\n')
  print(json.dumps(about, indent=2))


def cell(work: pathlib.Path, seed: int) -> dict[str, np.ndarray]:
  """Nats of each method and tokens [E], and scores '<score> <method>' [E] of texts."""
  folder = work / f'seed_{seed}'
  kept = folder / 'scores.npz'
  if kept.exists():
    return dict(np.load(kept))
  folders, model = (folder / 'histories', work / 'embeddings'), folder / 'model'
  if not (folders[0] / 'COMPLETED').exists():
    about = yaml.safe_load((ROOT / 'examples/books/shelf.yaml').read_text())
    about |= {'folder': str((work / 'data').absolute())}
    about['split']['seed'] = seed
    about['events']['scale'] = '1:5:1'  # PyYAML reads a number of base 60
    draft_cells.prepare(*folders, about)
  spent = draft_cells.train(model, 'runs/text.gin', folders, seed)
  predictor, records, _ = draft_cells.load(model, folders, _QUESTION)
  asked = [x for x in records if x['answer']]
  truth = [x['answer'][0] for x in asked]
  names = [*read_answer_texts(str(folders[0]), predictor.question, 'train')]
  written = [x.row['answer'] or '' for x in predictor.predict(asked)]
  texts = {
    'persoma': written,
    'most frequent': [most_frequent(str(folders[0]), predictor.question)] * len(truth),
  }
  found = {
    f'{score} {method}': values
    for method, own in texts.items()
    for score, values in text_metrics.compare_texts(truth, own).items()
  }
  swapped = text_metrics.swapped_scores(truth, written, np.arange(len(truth)))
  found |= {f'{score} another reader': values for score, values in swapped.items()}
  shares = word_shares(names)
  found |= of_decoder(predictor)
  found['nats shares'] = np.array([-np.log(shares(name)) for name in truth])
  found['nats rule'] = np.array(
    [
      -np.log(_OF_SHARES * shares(name) + (1 - _OF_SHARES) * rule)
      for name, rule in zip(truth, rule_odds(work, folders[0], asked), strict=True)
    ]
  )
  found |= {'spent': spent['processor_seconds'], 'steps': spent['steps']['decoder']}
  np.savez(kept, **found)
  return found


def of_decoder(predictor: Predictor) -> dict[str, np.ndarray]:
  """Nats [E] of the true names, behind each soft prompt, and their tokens [E]."""
  model, params = predictor.engine.trained, predictor.engine._params

  @jax.jit
  def nats(params, batch):
    logits = model.apply({'params': params}, batch, method=Persoma.target_logits)
    losses = optax.softmax_cross_entropy_with_integer_labels(
      logits.astype('float32'), batch['decoder_target_tokens']
    )
    return (losses * batch['decoder_loss_weights']).sum(axis=1)

  rows = [*test_features()]
  half = len(rows) // 2
  others = [*rows[half:], *rows[:half]]
  shown = {
    'persoma': rows,
    'another reader': [
      row | {name: other[name] for name in _HISTORY}
      for row, other in zip(rows, others, strict=True)
    ],
    'no history': [row | {'history_mask': 0 * row['history_mask']} for row in rows],
  }
  found = {
    f'nats {name}': np.concatenate([nats(params, x) for x in batches(own)])
    for name, own in shown.items()
  }
  return found | {'tokens': np.array([x['decoder_loss_weights'].sum() for x in rows])}


def test_features() -> Iterator[dict[str, np.ndarray]]:
  """Yields the model features of the test examples, in their stored order."""
  lengths = text_lengths()
  task = seqio.get_mixture_or_task('text_v1')
  dataset = task.get_dataset(lengths, 'test', shuffle=False)
  yield from HistoryFeatureConverter()(dataset, lengths).as_numpy_iterator()


def batches(rows: Sequence[Mapping]) -> Iterator[dict[str, np.ndarray]]:
  """Yields batches of at most _BATCH rows."""
  for start in range(0, len(rows), _BATCH):
    own = rows[start : start + _BATCH]
    yield {name: np.stack([row[name] for row in own]) for name in own[0]}


def word_shares(names: Sequence[str]):
  """A function name -> product of its words' shares, as if each word came once more."""
  counted = [collections.Counter(x.split()[at] for x in names) for at in (0, 1)]
  known = [
    {word for words in make_data._SHELF_WORDS.values() for word in words[at]}
    for at in (0, 1)
  ]

  def share(name: str) -> float:
    parts = zip(name.split(), counted, known, strict=True)
    return float(
      np.prod([(own[x] + 1) / (len(names) + len(words)) for x, own, words in parts])
    )

  return share


def rule_odds(
  work: pathlib.Path, histories: pathlib.Path, asked: Sequence[Mapping]
) -> Iterator[float]:
  """Yields the probability of each true name by the rule that made the names."""
  with open(work / 'data' / 'books.csv', newline='') as file:
    subjects = {x['isbn']: x['subjects'].split(';') for x in csv.DictReader(file)}
  items = pq.read_table(histories / 'items.parquet')['item_id'].to_pylist()
  for record in asked:
    stars = collections.defaultdict(list)
    pairs = zip(record['history_items'], record['history_ratings'], strict=True)
    for row, value in pairs:
      for name in subjects[items[row]]:
        stars[name].append(value)
    means = {x: np.mean(y) for x, y in sorted(stars.items()) if len(y) > 2}
    best = sorted(means, key=means.get, reverse=True)[:2]
    words = [make_data._SHELF_WORDS[name][at] for at, name in enumerate(best)]
    own = record['answer'][0].split()
    right = len(words) == 2 and all(x in y for x, y in zip(own, words, strict=True))
    yield 1 / np.prod([len(x) for x in words]) if right else 0.0


def summary(cells: Sequence[Mapping[str, np.ndarray]]) -> dict:
  """Means of all methods, and `persoma` less the others, with intervals."""
  draws = [
    np.random.default_rng([0, number]).multinomial(
      size := len(own['tokens']), np.full(size, 1 / size), _DRAWS
    )
    for number, own in enumerate(cells)
  ]

  def told(name: str, *less: str) -> dict:
    """The mean of a column, less that of another, a token or an example."""

    def mean(own, weights):
      total = own[name] - sum(own[x] for x in less)
      number = own['tokens'] if name.startswith('nats') else np.ones(len(total))
      return weights @ total / (weights @ number)

    everybody = [mean(own, np.ones(len(own['tokens']))) for own in cells]
    drawn = [mean(own, weights) for own, weights in zip(cells, draws, strict=True)]
    interval = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    return {
      'value': float(np.mean(everybody)),
      'interval': interval.tolist(),
      'of_seeds': [float(x) for x in everybody],
    }

  columns = [x for x in cells[0] if x not in ('spent', 'steps', 'tokens')]
  own = {x: f'{x.split()[0]} persoma' for x in columns}
  return {
    'examples': [len(x['tokens']) for x in cells],
    'training_processor_seconds': [int(x['spent']) for x in cells],
    'decoder_steps': [int(x['steps']) for x in cells],
    'results': {name: told(name) for name in columns},
    'persoma less': {x: told(own[x], x) for x in columns if x != own[x]},
  }


if __name__ == '__main__':
  main()
