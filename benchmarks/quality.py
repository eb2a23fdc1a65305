"""F1 of adapters and baselines on the same users, at the same training time.

    python -m benchmarks.quality [--data=/path/to/ml-latest-small] [--items=50] \
      [--methods=perceiver,mlp,...] [--seeds=0,1,2] [--work_dir=runs/quality]

Trains every method with every seed on long training histories (sub-histories of at
most N items), and answers the test users as two samplers show them: the N newest
interactions and N balanced over genres. A trained cell is kept in `--work_dir`, so
that a run goes on where it was cut. The methods that only have the language-model
loss get as many steps as fit into the time that the perceiver's run took.
Writes `benchmarks/results/quality_<data>_<N>.json`.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import numpy as np

from persoma_tf import assets
from pipelines import job

SAMPLERS = ('recency', 'genre_balanced')
_QUICKSTART = ['runs/quickstart.gin']
# method -> (recipes, bindings, whether only the language-model loss trains it)
METHODS = {
  'perceiver': (_QUICKSTART, [], False),
  'mlp': ([*_QUICKSTART, 'adapters/mlp.gin'], [], False),
  'transformer': ([*_QUICKSTART, 'adapters/transformer.gin'], [], False),
  'perceiver_lora': (_QUICKSTART, ["train.tuning = 'lora'"], False),
  'uem': (['runs/uem.gin'], [], True),
  'text_prompt': (['runs/text_prompt.gin'], [], True),
}
_CALIBRATION = 4  # steps that are timed to know how many fit


def main() -> None:
  """Runs what is missing and writes all that is there."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data', default='', help='a MovieLens CSV folder')
  parser.add_argument('--items', type=int, default=50, help='N')
  parser.add_argument('--methods', default=','.join(METHODS))
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--work_dir', default='runs/quality')
  flags = parser.parse_args()
  name = pathlib.Path(flags.data).name or 'ml-100k'
  work = pathlib.Path(flags.work_dir, name)
  histories(work, flags.data, flags.items)
  for seed in map(int, flags.seeds.split(',')):
    for method in flags.methods.split(','):
      cell(work, method, flags.items, seed)
  about = {
    'command': f'python -m benchmarks.quality --data={name} --items={flags.items}',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions(),
    **collect(work, flags.items),
  }
  results = pathlib.Path(__file__).parent / 'results'
  path = results / f'quality_{name}_{flags.items}.json'
  path.write_text(json.dumps(about, indent=2) + '\n')
  print(path)


def run(module: str, *arguments: str) -> None:
  """One stage, in a process of its own; a finished one returns at once."""
  command = [sys.executable, '-m', module, *map(str, arguments)]
  print('+', *command[2:], flush=True)
  subprocess.run(command, check=True)


def histories(work: pathlib.Path, data: str, items: int) -> None:
  """Long histories to train on; of both samplers, with N items, to answer."""
  folder = pathlib.Path(data) if data else assets.path('ml-100k')
  names = ('ratings.csv', 'movies.csv') if data else ('ml-100k.inter', 'ml-100k.item')
  ratings, movies = (folder / name for name in names)
  cuts = {f'{sampler}_{items}': (sampler, items) for sampler in SAMPLERS}
  for name, (sampler, size) in {'long': ('recency', 1000), **cuts}.items():
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


def cell(work: pathlib.Path, method: str, items: int, seed: int) -> None:
  """Trains one method with one seed and scores its answers."""
  folder = work / f'{method}_{items}_{seed}'
  recipes, bindings, lm_only = METHODS[method]
  arguments = [
    *(f'--gin_file={recipe}' for recipe in recipes),
    f'--histories_dir={work}/long/histories',
    f'--embeddings_dir={work}/long/embeddings',
    f'--gin.history_limits.items={items}',
    f'--gin.train.seed={seed}',
    *(f'--gin.{x.replace(" = ", "=")}' for x in bindings),
  ]
  spent = folder / 'train_seconds.json'
  if not (folder / 'model' / 'COMPLETED').exists():
    steps = calibrated(work, folder, arguments, items, seed) if lm_only else None
    extra = [f'--gin.decoder/Stage.steps={steps}'] if steps else []
    started = time.time()
    run('persoma_tf.train', f'--model_dir={folder}/model', *arguments, *extra)
    spent.write_text(json.dumps(time.time() - started))
  for sampler in SAMPLERS:
    shown = work / f'{sampler}_{items}'
    common = [f'--histories_dir={shown}/histories']
    run(
      'pipelines.batch_predict',
      f'--model_dir={folder}/model',
      f'--embeddings_dir={shown}/embeddings',
      f'--output_dir={folder}/{sampler}/predictions',
      *(['--batch_size=4'] if method == 'text_prompt' else []),
      *common,
    )
    run(
      'pipelines.evaluate',
      f'--predictions_dir={folder}/{sampler}/predictions',
      f'--output_dir={folder}/{sampler}/report',
      *common,
    )


def calibrated(work, folder, arguments, items, seed) -> int:
  """Steps that fit into the time that the perceiver's training took."""
  path = work / f'perceiver_{items}_{seed}' / 'train_seconds.json'
  if not path.exists():
    raise SystemExit(f'{path} is missing: run --methods=perceiver first')
  times = []
  for steps in (1, 1 + _CALIBRATION):  # the difference is without the start
    started = time.time()
    run(
      'persoma_tf.train',
      f'--model_dir={folder}/calibration',
      '--overwrite',
      *arguments,
      f'--gin.decoder/Stage.steps={steps}',
    )
    times.append(time.time() - started)
  step = (times[1] - times[0]) / _CALIBRATION
  budget = json.loads(path.read_text())
  return max(int((budget - times[0]) / step), 1)


def collect(work: pathlib.Path, items: int) -> dict:
  """Every finished cell, and mean and spread over the seeds."""
  cells, means = [], {}
  for path in sorted(work.glob(f'*_{items}_*/*/report/metrics.json')):
    folder, sampler = path.parents[2], path.parents[1].name
    method, _, seed = folder.name.rsplit('_', 2)
    scores = json.loads(path.read_text())['methods']
    lines = [json.loads(x) for x in (folder / 'model/metrics.jsonl').open()]
    cells.append(
      {
        'method': method,
        'sampler': sampler,
        'seed': int(seed),
        'train_seconds': round(json.loads((folder / 'train_seconds.json').read_text())),
        'steps': lines[-1]['step'],
        'f1': scores['persoma']['f1'],
        'parse_failures': scores['persoma']['parse_failures'],
        'users': scores['persoma']['users'],
      }
    )
    baselines = {name: row['f1'] for name, row in scores.items() if name != 'persoma'}
    means.setdefault(sampler, {}).update(baselines)
  for sampler, rows in means.items():
    for method in METHODS:
      found = [
        x['f1'] for x in cells if (x['method'], x['sampler']) == (method, sampler)
      ]
      if found:
        mean, spread = float(np.mean(found)), float(np.ptp(found))
        bound = rows['rule_on_sample']
        rows[method] = {
          'f1': mean,
          'spread': spread,
          'seeds': len(found),
          'of_bound': mean / bound,
        }
  return {'f1': means, 'cells': cells}


if __name__ == '__main__':
  main()
