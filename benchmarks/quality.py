"""F1 of adapters, tunings and baselines on the same users, at the same training cost.

    python -m benchmarks.quality [--data=/path/to/ml-latest-small] \
      [--methods=perceiver,mlp,...] [--seeds=0,1,2] [--work_dir=runs/quality]

Trains every method with every seed once, on sub-histories of at most 200 items of the
training users (text: what fits into 2,048 tokens), and answers the test users as they
are with their N newest interactions, N = 50 and 200, and with 50 that are balanced over
the genres. Methods that only have the language-model loss get as many steps as fit into
the processor time that the perceiver's training took: what wall time is on a machine
with nothing beside, but the same when there is something.

Every finished cell is added to `benchmarks/results/quality_<data>.json` and is never
run again: more methods and seeds can be added on any day. A cell that was cut is run
anew.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.processes import HUGE_PAGES
from benchmarks.quality_methods import METHODS
from persoma_tf import assets
from pipelines.common import job

# folder with the histories that are answered -> sampler, N
SHOWN = {
  **{f'recency_{size}': ('recency', size) for size in (50, 200)},
  'genre_balanced_50': ('genre_balanced', 50),
}
_FEW = 'recency_50'  # all that fits into a prompt as text
# What benchmarks.answers scores of a model; the rest needs none.
OF_MODEL = ('model', 'constrained', 'draft', 'no_history')
LIMIT = max(size for _, size in SHOWN.values())
_CALIBRATION = (2, 6)  # steps of two runs; their difference tells what a step costs
# What these answer is their draft: no decoder runs.
_DRAFTS = tuple(name for name in METHODS if name.startswith('drafts'))
_TEXT = ('text_prompt',)  # seconds a user, so that not all users are answered


def main() -> None:
  """Runs what is missing and writes all that is there."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data', default='', help='a MovieLens CSV folder')
  parser.add_argument('--methods', default=','.join(METHODS))
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--work_dir', default='runs/quality')
  flags = parser.parse_args()
  name = pathlib.Path(flags.data).name or 'ml-100k'
  work = pathlib.Path(flags.work_dir, name)
  path = pathlib.Path(__file__).parent / 'results' / f'quality_{name}.json'
  cells = json.loads(path.read_text())['cells'] if path.exists() else []
  histories(work, flags.data)
  for seed in map(int, flags.seeds.split(',')):
    for method in flags.methods.split(','):
      if not of(cells, method, seed):
        cells += cell(work, method, seed, cells)
        path.write_text(json.dumps(about(name, cells), indent=2) + '\n')
  print(path)


def of(cells: list[dict], method: str, seed: int | None = None) -> list[dict]:
  """The cells of a method, or of one of its runs."""
  return [x for x in cells if x['method'] == method and seed in (None, x['seed'])]


def about(name: str, cells: list[dict]) -> dict:
  """The results file."""
  return {
    'command': f'python -m benchmarks.quality --data={name}',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions('jax', 'flax'),
    'means': means(cells),
    'cells': cells,
  }


def run(module: str, *arguments: str) -> float:
  """A process of its own; returns the processor seconds that it took."""
  command = [sys.executable, '-m', module, *map(str, arguments)]
  print('+', time.strftime('%H:%M:%S'), *command[2:], flush=True)
  spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
  before = spent()
  # Compiled once, a step is not compiled again: it is the steps that are compared.
  cache = pathlib.Path('runs/compiled').absolute()
  settings = {
    **HUGE_PAGES,
    'JAX_COMPILATION_CACHE_DIR': str(cache),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.5',
  }
  subprocess.run(command, check=True, env=os.environ | settings)
  return spent() - before


def histories(work: pathlib.Path, data: str) -> None:
  """Long histories to train on, and those that are answered."""
  folder = pathlib.Path(data) if data else assets.path('ml-100k')
  names = ('ratings.csv', 'movies.csv') if data else ('ml-100k.inter', 'ml-100k.item')
  ratings, movies = (folder / name for name in names)
  for name, (sampler, size) in {'long': ('recency', 1000), **SHOWN}.items():
    run(
      'pipelines.build_histories',
      f'--ratings={ratings}',
      f'--movies={movies}',
      f'--output_dir={work / name / "histories"}',
      f'--sampler={sampler}',
      f'--max_history={size}',
      '--train_fraction=0.7',
      '--validation_fraction=0.1',
    )
    run(
      'pipelines.embed_items',
      f'--histories_dir={work / name / "histories"}',
      f'--output_dir={work / name / "embeddings"}',
    )


def cell(work: pathlib.Path, method: str, seed: int, cells: list[dict]) -> list[dict]:
  """Trains one method with one seed and scores its answers, a row for every N."""
  folder = work / f'{method}_{seed}'
  recipes, bindings, scaled = METHODS[method]
  if method not in _TEXT:
    bindings = [*bindings, f'history_limits.items = {LIMIT}']
  arguments = [
    *(f'--gin_file={recipe}' for recipe in recipes),
    f'--histories_dir={work}/long/histories',
    f'--embeddings_dir={work}/long/embeddings',
    f'--gin.train.seed={seed}',
    *(f'--gin.{x.replace(" = ", "=", 1)}' for x in bindings),
  ]
  spent = folder / 'train_seconds.json'
  if not spent.exists():
    if scaled:
      steps = steps_within_budget(work, method, arguments, scaled, cells)
      arguments += of_stages(scaled, steps)
    # From the start: what a run took that was cut is not known.
    train = [f'--model_dir={folder}/model', '--overwrite', *arguments]
    spent.write_text(json.dumps(run('persoma_tf.train', *train)))
  if not (folder / 'scores.json').exists():
    run(
      'benchmarks.answers',
      f'--model_dir={folder}/model',
      *(f'--shown={work}/{x}' for x in SHOWN if method not in _TEXT or x == _FEW),
      *(['--batch_size=4', '--free'] if method in _TEXT else ['--all']),
      *(['--drafts'] if method in _DRAFTS else []),
      f'--output={folder}/scores.json',
    )
  config = (folder / 'model' / 'config.gin').read_text()
  steps = re.findall(r'^(\w+)/Stage\.steps = (\d+)$', config, re.MULTILINE)
  facts = {
    'method': method,
    'seed': seed,
    'stage_steps': {stage: int(count) for stage, count in steps},
    'train_processor_seconds': round(json.loads(spent.read_text())),
  }
  scores = json.loads((folder / 'scores.json').read_text())
  return [
    {**facts, 'sampler': SHOWN[shown][0], 'N': SHOWN[shown][1], **row}
    for shown, row in scores.items()
  ]


def steps_within_budget(work, method, arguments, stages, cells) -> int:
  """Steps of each stage that fit into the time of the perceiver's training."""
  known, budget = of(cells, method), of(cells, 'perceiver', 0)
  if not budget:
    raise SystemExit('run --methods=perceiver --seeds=0 first: it sets the budget')
  if known:  # all seeds take as many
    return known[0]['stage_steps'][stages[0]]
  few = lambda steps: run(
    'persoma_tf.train',
    f'--model_dir={work}/{method}_calibration',
    '--overwrite',
    *arguments,
    *of_stages(stages, steps),
  )
  # The number of steps is a constant of the compiled update: each is compiled first.
  times = [[few(steps), few(steps)][1] for steps in _CALIBRATION]
  step = (times[1] - times[0]) / (_CALIBRATION[1] - _CALIBRATION[0])
  left = budget[0]['train_processor_seconds'] - times[0]
  if step <= 0 or left <= 0:
    raise SystemExit(
      f'{method}: calibration says {step:.2f} s a step, {left:.0f} s left'
    )
  return int(left / step) + _CALIBRATION[0]


def of_stages(stages: Sequence[str], steps: int) -> list[str]:
  """Flags that give each of the stages so many steps."""
  return [f'--gin.{stage}/Stage.steps={steps}' for stage in stages]


def means(cells: list[dict]) -> dict:
  """Mean and spread of every method over its seeds, and what needs no model."""
  found = {}
  for shown in SHOWN.values():
    rows = [x for x in cells if (x['sampler'], x['N']) == shown]
    by_method = {method: mean(rows, method) for method in METHODS if of(rows, method)}
    baselines = {
      key: x
      for row in rows
      if row['method'] not in _TEXT
      for key, x in row['f1'].items()
      if key not in OF_MODEL
    }
    sampler, size = shown
    found[f'N={size}' if sampler == 'recency' else f'{sampler}, N={size}'] = (
      by_method | baselines
    )
  return found


def mean(rows: list[dict], method: str) -> dict:
  """Mean and spread of a method over the seeds."""
  found = of(rows, method)
  answer = 'draft' if method in _DRAFTS else 'model'
  values = [x['f1'][answer] for x in found]
  more = {
    name: {'f1': float(np.mean(of_seeds)), 'spread': float(np.ptp(of_seeds))}
    for name in OF_MODEL[1:]
    if (of_seeds := [x['f1'][name] for x in found if name in x['f1']])
  }
  bound = float(np.mean([x['f1']['rule_on_sample'] for x in found]))
  return {
    'f1': float(np.mean(values)),
    'spread': float(np.ptp(values)),
    'of_bound': float(np.mean(values)) / bound,
    'f1_first_users': float(np.mean([x['f1_first'][answer] for x in found])),
    'seeds': len(found),
    'users': found[0]['users'],
    **more,
  }


if __name__ == '__main__':
  main()
