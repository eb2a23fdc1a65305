"""How well the decoder itself ranks "Which movie will the user watch next?".

    python -m benchmarks.rank_decoder --data=/path/to/ml-latest-small [--seeds=0] \
      [--sets=ml-latest-small] [--every=2] [--work_dir=runs/rank]

Goes on with the draft of `benchmarks.rank`, with negatives drawn alike: the second
stage of `runs/rank.gin`. The order of the candidates is that of the decoder's own
likelihood of each number, of every second example; the draft ranks the same ones.

A finished cell is kept in the work folder. Writes
`benchmarks/results/rank_decoder.json`; intervals are bootstrapped over users, of the
mean over the seeds.
"""

import argparse
import json
import pathlib
import shutil
import time

import numpy as np
import pyarrow.parquet as pq

from benchmarks import draft_cells, rank
from benchmarks.decoding import machine
from pipelines.common import job
from pipelines.report.rank_scoring import model_values
from tasks.rank_metrics import rank_scores

_BY = 'uniform'
_RESULTS = pathlib.Path(__file__).parent / 'results' / 'rank_decoder.json'


def main() -> None:
  """Runs what is missing and writes all that is there."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data', default='', help='the folder of ml-latest-small')
  parser.add_argument('--sets', default='ml-latest-small')
  parser.add_argument('--seeds', default='0')
  parser.add_argument('--every', type=int, default=2)
  parser.add_argument('--work_dir', default='runs/rank')
  flags = parser.parse_args()
  seeds = [*map(int, flags.seeds.split(','))]
  found = json.loads(_RESULTS.read_text())['results'] if _RESULTS.exists() else {}
  for name in flags.sets.split(','):
    cells = [cell(flags, name, seed) for seed in seeds]
    found[name] = {'seeds': seeds, **rank.summary(cells)}
    print(name, json.dumps(found[name], indent=2))
    about = {
      'command': 'python -m benchmarks.rank_decoder',
      'date': time.strftime('%Y-%m-%d'),
      'machine': machine(),
      'versions': job.versions('jax', 'flax'),
      'results': found,
    }
    _RESULTS.write_text(json.dumps(about, indent=2) + '\n')


def cell(flags: argparse.Namespace, name: str, seed: int) -> dict[str, np.ndarray]:
  """Scores of the examples by 'persoma' and 'draft', as `rank.cell` returns them."""
  work = pathlib.Path(flags.work_dir, name)
  rank.cell(work, _BY, rank.dataset(name, _BY, flags.data), seed)
  folder = work / f'{_BY}_{seed}'
  folders, model = (folder / 'histories', work / 'embeddings'), folder / 'decoder'
  kept = folder / 'decoder.npz'
  if not kept.exists():
    shutil.rmtree(model, ignore_errors=True)
    finished = shutil.ignore_patterns('COMPLETED', 'config.gin')
    shutil.copytree(folder / 'model', model, ignore=finished)
    spent = draft_cells.train(model, 'runs/rank.gin', folders, seed)
    predictor, records, read = draft_cells.load(
      model, folders, rank.NAME, scored_options=rank.CANDIDATES
    )
    rows = [x.row for x in predictor.predict(records[:: flags.every])]
    read = read.take(np.arange(len(records)) % flags.every == 0)
    items = pq.read_table(f'{folders[0]}/items.parquet', columns=['item_id'])
    values = model_values(rows, read, items['item_id'].to_pylist())
    scores = {
      f'{method} {score}': of_examples
      for method, own in values.items()
      for score, of_examples in rank_scores(own, read.samples.answers).items()
    }
    took = {'spent': spent['processor_seconds'], 'steps': spent['steps']['decoder']}
    np.savez(kept, users=np.array(read.samples.user_ids), **scores, **took)
  return dict(np.load(kept))


if __name__ == '__main__':
  main()
