"""What each first-stage sampler can be worth: `rule_on_sample` before any training.

    python -m benchmarks.samplers --movielens=/path/to/ml-latest-small

Runs the histories job on MovieLens-100K and on a MovieLens CSV folder with every
sampler at N = 10 .. 200 and takes the F1 of the label rule on the sample from its
statistics, over all users; samplers that draw run with seeds 0 to 2. `diverse` reads
the vectors of pipelines.embed_items (all-MiniLM-L6-v2 on titles and genres). Also
measures a sampler's time for a user at N = 50. Writes benchmarks/results/samplers.json.
"""

import argparse
import json
import os
import pathlib
import platform
import tempfile
import time

import numpy as np

from persoma_tf import assets
from pipelines import build_histories, embed_items
from pipelines.common import job, storage, tfrecord
from pipelines.histories import history_records
from pipelines.histories.samplers import SAMPLERS, History
from pipelines.items.item_facts import ItemFactsSource

SIZES = (10, 20, 50, 100, 200)
DRAWING = ('random', 'long_tail')
_EVERYBODY = ('--train_fraction=1', '--validation_fraction=0')


def main() -> None:
  """Measures every sampler on both data sets."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--movielens', type=pathlib.Path, required=True)
  movielens = parser.parse_args().movielens
  ml_100k = assets.path('ml-100k')
  data = {
    'ml-100k': (ml_100k / 'ml-100k.inter', ml_100k / 'ml-100k.item'),
    movielens.name: (movielens / 'ratings.csv', movielens / 'movies.csv'),
  }
  results = []
  for name, files in data.items():
    with tempfile.TemporaryDirectory() as temporary:
      results += measure(name, files, pathlib.Path(temporary))
  about = {
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions(),
    'results': results,
  }
  path = pathlib.Path(__file__).parent / 'results' / 'samplers.json'
  path.write_text(json.dumps(about, indent=2) + '\n')


def measure(data: str, files: tuple, folder: pathlib.Path) -> list[dict]:
  """F1 and time of every sampler on one data set."""
  whole, vectors = folder / 'whole', folder / 'vectors'
  _build(files, whole, '--max_history=100000')
  embed_items.run([f'--histories_dir={whole}', f'--output_dir={vectors}'])
  found = []
  for name, sampler in SAMPLERS.items():
    flags = [f'--sampler={name}']
    if sampler.needs == 'vectors':
      flags.append(f'--embeddings_dir={vectors}')
    f1 = {}
    for size in SIZES:
      seeds = range(3) if name in DRAWING else range(1)
      runs = [
        _build(
          files, folder / f'{name}-{size}-{seed}', f'--max_history={size}',
          f'--seed={seed}', *flags
        )
        for seed in seeds
      ]  # fmt: skip
      scores = [run['statistics']['rule_on_sample']['train']['f1'] for run in runs]
      f1[size] = {'mean': float(np.mean(scores)), 'spread': float(np.ptp(scores))}
    microseconds = round(_time(name, whole, vectors))
    row = {'data': data, 'sampler': name, 'f1': f1, 'us_per_user': microseconds}
    print(data, name, *(f'{f1[size]["mean"]:.3f}' for size in SIZES), microseconds)
    found.append(row)
  return found


def _build(files, output, *flags):
  ratings, movies = files
  inputs = [f'--ratings={ratings}', f'--movies={movies}', f'--output_dir={output}']
  build_histories.run([*inputs, *_EVERYBODY, *flags])
  return storage.read_json(str(output / 'dataset_info.json'))


def _time(name, whole, vectors, size=50):
  """Microseconds a user of those with more than `size` ratings."""
  source = ItemFactsSource(
    str(whole / 'items.parquet'), SAMPLERS[name].needs, str(vectors)
  )
  items = source.load()
  users = [
    History(*(one[f'history_{field}'] for field in ('items', 'ratings', 'timestamps')))
    for path in whole.glob('*.tfrecord')
    for one in map(history_records.decode_example, tfrecord.read_tfrecord(str(path)))
    if len(one['history_items']) > size
  ]
  counts = np.bincount(np.concatenate([user.items for user in users]))
  items = items._replace(
    counts=np.pad(counts, (0, items.genres.shape[0] - len(counts)))
  )
  started = time.perf_counter()
  for seed, user in enumerate(users):
    SAMPLERS[name].select(user, items, size, seed)
  return 1e6 * (time.perf_counter() - started) / len(users)


if __name__ == '__main__':
  main()
