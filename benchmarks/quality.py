"""F1 of adapters, tunings and baselines on the same users, at the same training cost.

    python -m benchmarks.quality [--data=/path/to/ml-latest-small] \
      [--methods=perceiver,mlp,...] [--seeds=0,1,2] [--work_dir=runs/quality]

Trains every method with every seed once, on sub-histories of at most 200 items of the
training users (text: what fits into 2,048 tokens), and answers the test users as they
are with their N newest interactions, N = 50 and 200. Methods that only have the
language-model loss get as many steps as fit into the processor time that the
perceiver's training took: what wall time is on a machine with nothing beside, but the
same when there is something. A finished cell is kept in `--work_dir`, so that a run
goes on where it was cut. Writes `benchmarks/results/quality_<data>.json`.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import time

import numpy as np

from persoma_tf import assets
from pipelines import job

ITEMS = (50, 200)
_QUICKSTART = ['runs/quickstart.gin']
_LM = ['train.stages = [@decoder/Stage()]', 'decoder/Stage.learning_rate = 1e-3']
_LM += ["decoder/Stage.trainable = ('adapter/.*',)"]
_WHOLE = ["train.task = 'movielens_genre_prediction_v1'"]
# method -> (recipes, bindings, stage whose steps are what fits into the budget)
METHODS = {
  'perceiver': (_QUICKSTART, [], None),
  'mlp': ([*_QUICKSTART, 'adapters/mlp.gin'], [], None),
  'transformer': ([*_QUICKSTART, 'adapters/transformer.gin'], [], None),
  'perceiver_lora': (_QUICKSTART, ["train.tuning = 'lora'"], None),
  'uem': (['runs/uem.gin'], [], 'decoder'),
  'text_prompt': (['runs/text_prompt.gin'], [], 'decoder'),
  # What each part of the recipe is worth: the perceiver with less of it.
  'lm_only': (['runs/lm_only.gin'], [], 'decoder'),
  'lm_only_whole_histories': (['runs/lm_only.gin'], _WHOLE, 'decoder'),
  'item_warmup': (['runs/item_warmup.gin'], [], 'decoder'),
  'template_lm_only': (_QUICKSTART, _LM, 'decoder'),
  'whole_histories': (_QUICKSTART, _WHOLE, None),
  'no_statistics': (_QUICKSTART, ['histories/Stage.statistics_weight = 0.0'], None),
}
_CALIBRATION = (2, 10)  # steps of two runs; their difference tells what a step costs
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
  histories(work, flags.data)
  for seed in map(int, flags.seeds.split(',')):
    for method in flags.methods.split(','):
      cell(work, method, seed)
  about = {
    'command': f'python -m benchmarks.quality --data={name}',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions(),
    **collect(work),
  }
  path = pathlib.Path(__file__).parent / 'results' / f'quality_{name}.json'
  path.write_text(json.dumps(about, indent=2) + '\n')
  print(path)


def run(module: str, *arguments: str) -> float:
  """A process of its own; returns the processor seconds that it took."""
  command = [sys.executable, '-m', module, *map(str, arguments)]
  print('+', time.strftime('%H:%M:%S'), *command[2:], flush=True)
  spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
  before = spent()
  # Huge pages: docs/implementation.md. Compiled once, a step is not compiled again, so
  # that it is the steps that are compared.
  cache = pathlib.Path('runs/quality/compiled').absolute()
  settings = {
    'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
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
  for name, size in {'long': 1000, **{f'recency_{n}': n for n in ITEMS}}.items():
    run(
      'pipelines.build_histories',
      f'--ratings={ratings}',
      f'--movies={movies}',
      f'--output_dir={work / name / "histories"}',
      '--sampler=recency',
      f'--max_history={size}',
      '--train_fraction=0.7',
      '--validation_fraction=0.1',
    )
    run(
      'pipelines.embed_items',
      f'--histories_dir={work / name / "histories"}',
      f'--output_dir={work / name / "embeddings"}',
    )


def cell(work: pathlib.Path, method: str, seed: int) -> None:
  """Trains one method with one seed and scores its answers."""
  folder = work / f'{method}_{seed}'
  recipes, bindings, scaled = METHODS[method]
  if method not in _TEXT:
    bindings = [*bindings, f'history_limits.items = {max(ITEMS)}']
  arguments = [
    *(f'--gin_file={recipe}' for recipe in recipes),
    f'--histories_dir={work}/long/histories',
    f'--embeddings_dir={work}/long/embeddings',
    f'--gin.train.seed={seed}',
    *(f'--gin.{x.replace(" = ", "=", 1)}' for x in bindings),
  ]
  spent = folder / 'train_seconds.json'
  if not (folder / 'model' / 'COMPLETED').exists():
    if scaled:
      steps = steps_within_budget(work, method, arguments, scaled)
      arguments.append(f'--gin.{scaled}/Stage.steps={steps}')
    seconds = run('persoma_tf.train', f'--model_dir={folder}/model', *arguments)
    spent.write_text(json.dumps(seconds))
  if not (folder / 'scores.json').exists():
    run(
      'benchmarks.answers',
      f'--model_dir={folder}/model',
      *(f'--shown={work}/recency_{n}' for n in ITEMS if method not in _TEXT or n == 50),
      *(['--batch_size=4'] if method in _TEXT else ['--all']),
      f'--output={folder}/scores.json',
    )


def steps_within_budget(work, method, arguments, stage) -> int:
  """Steps that fit into the processor time of the perceiver's training."""
  known = work / f'{method}_steps.json'
  if not known.exists():
    budget = json.loads((work / 'perceiver_0' / 'train_seconds.json').read_text())
    # Once for the compiler, then the two runs that are compared.
    times = [
      run(
        'persoma_tf.train',
        f'--model_dir={work}/{method}_calibration',
        '--overwrite',
        *arguments,
        f'--gin.{stage}/Stage.steps={steps}',
      )
      for steps in (_CALIBRATION[1], *_CALIBRATION)
    ][1:]
    step = (times[1] - times[0]) / (_CALIBRATION[1] - _CALIBRATION[0])
    steps = max(int((budget - times[0]) / step) + _CALIBRATION[0], 1)
    known.write_text(json.dumps({'steps': steps, 'seconds_a_step': step}))
  return json.loads(known.read_text())['steps']


def collect(work: pathlib.Path) -> dict:
  """Every finished cell, and mean and spread over the seeds."""
  cells = []
  for path in sorted(work.glob('*/scores.json')):
    method, _, seed = path.parent.name.rpartition('_')
    lines = [json.loads(x) for x in (path.parent / 'model/metrics.jsonl').open()]
    seconds = json.loads((path.parent / 'train_seconds.json').read_text())
    for shown, scores in json.loads(path.read_text()).items():
      cell = {'method': method, 'N': int(shown.split('_')[1]), 'seed': int(seed)}
      cell |= {'steps': lines[-1]['step'], 'train_processor_seconds': round(seconds)}
      cells.append(cell | scores)
  means = {}
  for items in ITEMS:
    rows = [x for x in cells if x['N'] == items]
    means[f'N={items}'] = {method: mean(rows, method) for method in METHODS}
    whole = next((x for x in rows if x['method'] not in _TEXT), {'f1': {}})
    for name in ('rule_on_sample', 'constant', 'counting'):
      means[f'N={items}'][name] = whole['f1'].get(name)
  return {'means': means, 'cells': cells}


def mean(rows: list[dict], method: str) -> dict | None:
  """Mean and spread of a method over the seeds; None where no seed has run."""
  found = [x for x in rows if x['method'] == method]
  if not found:
    return None
  values = [x['f1']['model'] for x in found]
  bound = float(np.mean([x['f1']['rule_on_sample'] for x in found]))
  return {
    'f1': float(np.mean(values)),
    'spread': float(np.ptp(values)),
    'of_bound': float(np.mean(values)) / bound,
    'f1_first_users': float(np.mean([x['f1_first']['model'] for x in found])),
    'seeds': len(found),
    'users': found[0]['users'],
  }


if __name__ == '__main__':
  main()
