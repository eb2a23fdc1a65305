"""How far option queries are above the linear probe, over both data sets together.

    python -m benchmarks.above_probe [--work_dir=runs/quality]

Reads the answers that `python -m benchmarks.quality --methods=options,options_lora`
kept in its work folder, of all seeds and both data sets. A draw takes the users of each
data set with replacement, the same for both methods and all seeds; the difference of a
data set is the mean of its seeds, and that of both is the mean over their users; or,
`sets`, the mean of the two data sets, whose number of users then does not matter.
"""

import argparse
import json
import pathlib
from collections.abc import Iterator

import numpy as np

from benchmarks.quality import SHOWN
from tasks import metrics

_SETS = ('ml-100k', 'ml-latest-small')
_OF = {
  'options': ('constrained', 'model', 'draft'),
  'options_lora': ('constrained', 'model'),  # its draft is the same
}
_DRAWS = 2000


def main() -> None:
  """Compares and writes the results."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--work_dir', default='runs/quality')
  work = pathlib.Path(parser.parse_args().work_dir)
  rows = []
  for shown in SHOWN:
    for recipe, methods in _OF.items():
      runs = {name: read(work / name, recipe, shown) for name in _SETS}
      about = {'shown': shown, 'recipe': recipe}
      rows += [about | {'method': x, **compare(runs, x)} for x in methods]
  path = pathlib.Path(__file__).parent / 'results' / 'above_probe.json'
  command = 'python -m benchmarks.above_probe'
  path.write_text(json.dumps({'command': command, 'results': rows}, indent=2) + '\n')
  print(path)


def read(folder: pathlib.Path, recipe: str, shown: str) -> list[dict[str, np.ndarray]]:
  """The answers of every seed of a recipe, as `benchmarks.answers` kept them."""
  paths = sorted(folder.glob(f'{recipe}_[0-9]/answers_{shown}.npz'))
  if not paths:
    raise SystemExit(f'no answers in {folder}: run benchmarks.quality first')
  return [dict(np.load(path)) for path in paths]


def compare(runs: dict[str, list], method: str) -> dict:
  """The difference to the probe of each data set and of both, with 95 % intervals.

  Args:
    runs: for each data set, for each seed, {method: [U, 2G] bool, 'truth': likewise}.
    method: the method that is compared with 'linear_probe'.
  """
  users = {name: len(of_seeds[0]['truth']) for name, of_seeds in runs.items()}
  share = np.array(list(users.values())) / sum(users.values())
  everyone = [np.arange(size) for size in users.values()]
  found = differences(runs, method, everyone)
  drawn = np.array(
    [differences(runs, method, draw) for draw in draws(list(users.values()))]
  )
  told = {name: _told(found[place], drawn[:, place]) for place, name in enumerate(runs)}
  seeds = {name: len(of_seeds) for name, of_seeds in runs.items()}
  both = _told(found @ share, drawn @ share)
  sets = _told(found.mean(), drawn.mean(axis=1))
  return {'seeds': seeds, **told, 'both': both, 'sets': sets}


def draws(sizes: list[int]) -> Iterator[list[np.ndarray]]:
  """Yields drawn users of every data set."""
  rng = np.random.default_rng(0)
  for _ in range(_DRAWS):
    yield [rng.integers(size, size=size) for size in sizes]


def differences(runs: dict[str, list], method: str, users: list) -> np.ndarray:
  """F1 of the method less that of the probe, mean over seeds, for each data set."""
  f1 = lambda run, name, drawn: metrics.weighted_scores(
    run['truth'][drawn], run[name][drawn]
  )['f1']
  return np.array(
    [
      np.mean(
        [f1(run, method, drawn) - f1(run, 'linear_probe', drawn) for run in of_seeds]
      )
      for of_seeds, drawn in zip(runs.values(), users, strict=True)
    ]
  )


def _told(difference, drawn):
  low, high = np.percentile(drawn, [2.5, 97.5])
  return {'difference': float(difference), 'interval': [float(low), float(high)]}


if __name__ == '__main__':
  main()
