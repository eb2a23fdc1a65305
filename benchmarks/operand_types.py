"""What bfloat16 operands of products do to the scores, in training and in prediction.

    python -m benchmarks.operand_types --data_dir=runs/ml-100k --data_dir=runs/other

Each `--data_dir` holds finished `histories` and `embeddings`. Trains the quickstart's
recipe with every seed, once with float32 and once with bfloat16 as `train.dtype`, into
`<data_dir>/<dtype>_<seed>` (finished trainings are kept), and answers the test users
in the type of the training, and those of a float32 training in bfloat16, too. The first
stage of the recipe runs no decoder, so it is the same in both: the second training
takes over its checkpoint.

Differences of F1 are means over the seeds, against float32 in both; their 95 %
intervals are over users, drawn with replacement: all seeds see the same draw. Writes
`benchmarks/results/operand_types.json`; cells that are in it are not measured again.
"""

import argparse
import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zlib

import numpy as np

from benchmarks.answers import indicator, test_histories
from benchmarks.decoding import machine
from benchmarks.processes import HUGE_PAGES
from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common import job
from pipelines.report.run_results import read_split
from tasks import metrics
from tasks.predictor import Predictor

_RECIPE = 'persoma_tf/configs/runs/perceiver.gin'
_TYPES = ('float32', 'bfloat16')
_FIRST_STAGE = 1500  # steps
_DRAWS = 2000


def main() -> None:
  """Trains, answers and compares."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', action='append', required=True)
  parser.add_argument('--seeds', type=int, default=3)
  parser.add_argument('--out', default='benchmarks/results/operand_types.json')
  flags = parser.parse_args()
  path = pathlib.Path(flags.out)
  cells = json.loads(path.read_text())['cells'] if path.exists() else {}
  for seed in range(flags.seeds):
    for folder in flags.data_dir:
      for trained in _TYPES:
        model = train(folder, trained, seed)
        for weights in _TYPES[_TYPES.index(trained) :]:
          name = f'{pathlib.Path(folder).name}, seed {seed}, {trained}, {weights}'
          if name not in cells:
            cells[name] = answer(folder, model, weights)
            path.write_text(json.dumps({'cells': cells}, indent=2) + '\n')
          print(name, cells[name]['f1'], flush=True)
  content = about(flags, cells)
  path.write_text(json.dumps(content, indent=2) + '\n')
  print(json.dumps(content['differences'], indent=2))


def train(folder: str, dtype: str, seed: int) -> str:
  """The folder of a finished training; trains it if it is not there."""
  model = pathlib.Path(folder, f'{dtype}_{seed}')
  kept = pathlib.Path(folder, f'first_stage_{seed}')
  if (model / 'COMPLETED').exists():
    return str(model)
  if not model.exists() and kept.exists():
    shutil.copytree(kept, model)
    config = model / 'config.gin'
    text = re.sub(
      r'(?m)^train\.dtype = .*$', f'train.dtype = {dtype!r}', config.read_text()
    )
    config.write_text(text)
  command = [sys.executable, '-m', 'persoma_tf.train', f'--gin_file={_RECIPE}']
  command += [f'--{x}_dir={folder}/{x}' for x in ('histories', 'embeddings')]
  command += [f'--model_dir={model}', f'--gin.train.seed={seed}']
  command += [f'--gin.train.dtype={dtype!r}']
  process = subprocess.Popen(command, env=os.environ | HUGE_PAGES)
  checkpoint = model / f'checkpoint_{_FIRST_STAGE}'
  while process.poll() is None:
    try:
      process.wait(1)
    except subprocess.TimeoutExpired:
      if checkpoint.exists() and not kept.exists():
        half = kept.with_name(f'{kept.name}.tmp')
        shutil.copytree(model, half, ignore=shutil.ignore_patterns('events*', '*tmp*'))
        half.rename(kept)
  if process.returncode:
    raise SystemExit(f'{" ".join(command)}: exit {process.returncode}')
  return str(model)


def answer(folder: str, model: str, weights: str) -> dict:
  """The test users' answers with one type of weights, and their F1."""
  info = json.loads(pathlib.Path(folder, 'histories/dataset_info.json').read_text())
  predictor = Predictor(
    model, f'{folder}/histories', f'{folder}/embeddings', 64, Decoding(weights=weights)
  )
  rows = [x.row for x in predictor.predict(test_histories(folder))]
  truth = read_split(f'{folder}/histories', 'test', info['genres']).truth
  made = indicator(rows, info['genres'])
  low, high = metrics.bootstrap_f1(truth, made)
  lines = pathlib.Path(model, 'metrics.jsonl').read_text().splitlines()
  losses = [json.loads(line) for line in lines]
  return {
    'users': len(rows),
    'f1': metrics.weighted_scores(truth, made)['f1'],
    'interval': [low, high],
    'parse_failures': sum(not row['parse_ok'] for row in rows),
    'losses': {
      str(x['step']): x['decoder/loss'] for x in losses if 'decoder/loss' in x
    },
    # Short forms: of the texts, to compare them, and of the answers' bits.
    'answers': ' '.join(f'{zlib.crc32(row["text"].encode()):08x}' for row in rows),
    'hits': base64.b64encode(np.packbits(made)).decode(),
  }


def difference(
  folder: str, cells: dict, seeds: int, trained: str, weights: str
) -> dict:
  """Mean over the seeds of F1 minus F1 of float32, and its interval over users."""
  info = json.loads(pathlib.Path(folder, 'histories/dataset_info.json').read_text())
  truth = read_split(f'{folder}/histories', 'test', info['genres']).truth
  cell = lambda seed, *types: cells.get(
    f'{pathlib.Path(folder).name}, seed {seed}, {", ".join(types)}'
  )
  pairs = [(cell(s, trained, weights), cell(s, *_TYPES[:1] * 2)) for s in range(seeds)]
  pairs = [pair for pair in pairs if None not in pair]
  if not pairs:
    return {}
  made = [[_unpacked(x, truth.shape) for x in pair] for pair in pairs]
  f1 = lambda users, found: metrics.weighted_scores(truth[users], found[users])['f1']
  gain = lambda users: np.mean([f1(users, x) - f1(users, y) for x, y in made])
  rng = np.random.default_rng(0)
  draws = [gain(rng.integers(0, len(truth), len(truth))) for _ in range(_DRAWS)]
  same = [
    np.mean([a == b for a, b in zip(*map(_texts, (x, y)), strict=True)])
    for x, y in pairs
  ]
  return {
    'seeds': len(pairs),
    'f1_minus_float32': float(gain(np.arange(len(truth)))),
    'interval': np.percentile(draws, [2.5, 97.5]).tolist(),
    'of_each_seed': [x['f1'] - y['f1'] for x, y in pairs],
    'same_answers': float(np.mean(same)),
  }


def _texts(cell):
  return cell['answers'].split()


def _unpacked(cell, shape):
  packed = np.frombuffer(base64.b64decode(cell['hits']), np.uint8)
  return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape) > 0


def about(flags, cells: dict) -> dict:
  """The results file."""
  return {
    'command': 'python -m benchmarks.operand_types --data_dir=... --data_dir=...',
    'machine': machine(),
    'versions': job.versions('jax', 'flax'),
    'seeds': list(range(flags.seeds)),
    'differences': {
      f'{pathlib.Path(folder).name}: trained in {trained}, answered in {weights}': found
      for folder in flags.data_dir
      for trained in _TYPES
      for weights in _TYPES
      if (trained, weights) != _TYPES[:1] * 2
      and (found := difference(folder, cells, flags.seeds, trained, weights))
    },
    'cells': cells,
  }


if __name__ == '__main__':
  main()
