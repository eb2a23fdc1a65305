"""Measures time and memory of option queries with few and with many options.

    python -m benchmarks.many_options

Histories and labels are generated; no figure depends on what they hold. Of each number
of options and of interactions, in a process of its own: parameters of the draft; memory
and time of a training step of the quickstart's first stage; time of drafting. Every
option attends to the default number of options or, in rows of their own, to all. A step
that would need more than `--most_gb` is compiled, which tells its memory, and not run;
nor is one where more than a thousand options attend to all.

Beside it, the simple thing: a dense classifier of the mean vector that has as many
outputs, the options and one other word for each slot. What a decoder needs to name one
of so many options: see `benchmarks.grammars`.

Each process is started `--rounds` times, in turns; the median of the rounds counts, of
each of which the median step. No compiled code is read from a cache. Writes
`benchmarks/results/many_options.json`; rounds in it are not measured again.
"""

import argparse
import json
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from benchmarks import many_options_draft
from benchmarks.decoding import machine
from benchmarks.processes import last_line
from persoma_tf import recipes
from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.training import training_run  # noqa: F401  registers what recipes set
from pipelines.common import job

_DEFAULT, _ALL = 'default', 'all'
_MOST_ATTENDING, _NOTHING = 1000, 1e-9  # G² for more options: only compiled; GB
_RESULTS = pathlib.Path(__file__).parent / 'results' / 'many_options.json'


class Row(NamedTuple):
  """Names what a process measures: `options` or `dense`."""

  kind: str
  options: int
  items: int
  attended: str = _DEFAULT

  @property
  def name(self) -> str:
    """Tells what is measured."""
    more = ', all attend' if self.attended == _ALL else ''
    return f'{self.kind}, G={self.options}, N={self.items}{more}'


def rows_of(sizes: Sequence[int], items: Sequence[int]) -> list[Row]:
  """Lists all rows; those where all attend only where that is not the default."""
  found = []
  for length in items:
    for size in sizes:
      found += [Row('options', size, length), Row('dense', size, length)]
      if size > OptionQueries.attended:
        found.append(Row('options', size, length, _ALL))
  return found


def main() -> None:
  """Measures row by row, each in a process of its own, and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--sizes', default='18,500,5000')
  parser.add_argument('--items', default='50,200')
  settings = {'batch_size': 64, 'width': 768, 'steps': 10, 'rounds': 3}
  for name, value in settings.items():
    parser.add_argument(f'--{name}', type=int, default=value)
  parser.add_argument(
    '--most_gb', type=float, default=0.0, help='0: most of what is free'
  )
  parser.add_argument('--out', type=pathlib.Path, default=_RESULTS)
  parser.add_argument('--row', help='internal: kind,G,N,attended')
  flags = parser.parse_args()
  if flags.row:
    kind, size, items, attended = flags.row.split(',')
    print(json.dumps(measure(flags, Row(kind, int(size), int(items), attended))))
    return
  numbers = lambda text: [int(x) for x in text.split(',')]
  wanted = rows_of(numbers(flags.sizes), numbers(flags.items))
  flags.out.parent.mkdir(parents=True, exist_ok=True)
  found = json.loads(flags.out.read_text())['rounds'] if flags.out.exists() else {}
  for number in range(flags.rounds):
    for row in wanted:
      if len(found.setdefault(row.name, [])) <= number:
        found[row.name].append(last_line(command(flags, row)))
        flags.out.write_text(json.dumps(about(flags, found), indent=2) + '\n')
  print(json.dumps(about(flags, found)['ratios'], indent=2))


def command(flags, row: Row) -> list[str]:
  """Returns the command that measures a row."""
  names = ('batch_size', 'width', 'steps', 'most_gb')
  given = [f'--{name}={getattr(flags, name)}' for name in names]
  which = ','.join(map(str, row))
  return [sys.executable, '-m', 'benchmarks.many_options', *given, f'--row={which}']


def about(flags, rounds: Mapping[str, Sequence[Mapping]]) -> dict:
  """Returns the content of the results file."""
  rows = {name: summary(found) for name, found in rounds.items() if found}
  return {
    'command': 'python -m benchmarks.many_options',
    'machine': machine(),
    'versions': job.versions('jax', 'flax'),
    'seed': 0,
    'settings': {x: getattr(flags, x) for x in ('batch_size', 'width', 'steps')},
    'ratios': ratios(rows),
    'rows': rows,
    'rounds': rounds,
  }


def summary(rounds: Sequence[Mapping]) -> dict:
  """Returns medians of the numbers of all rounds, and the spread of the seconds."""
  found = {}
  # A step that was run in one round can lack the memory in another.
  for name, value in {key: x for row in rounds for key, x in row.items()}.items():
    if not isinstance(value, int | float) or isinstance(value, bool):
      found[name] = value
      continue
    values = [row[name] for row in rounds if name in row]
    found[name] = statistics.median(values)
    if name.startswith('seconds'):
      found[f'{name}, spread'] = (max(values) - min(values)) / found[name]
  return found


def ratios(rows: Mapping[str, Mapping]) -> dict[str, float]:
  """Divides option queries by the dense classifier, where both were run."""
  found = {}
  for name, row in rows.items():
    twin = name.replace('options', 'dense').removesuffix(', all attend')
    if name.startswith('options') and twin in rows:
      for what in ('seconds_a_step', 'seconds_a_user_drafting'):
        if what in row and what in rows[twin]:
          found[f'{name} / dense: {what}'] = row[what] / rows[twin][what]
  return found


def measure(flags, row: Row) -> dict:
  """Measures one row, in this process."""
  jax.config.update('jax_enable_compilation_cache', False)
  nowhere = ["HISTORIES_DIR = ''", "EMBEDDINGS_DIR = ''"]  # no data is read
  recipes.parse_recipes(['runs/quickstart.gin'], nowhere)
  shape = flags.batch_size, row.items, flags.width
  batch = many_options_draft.make_batch(np.random.default_rng(0), row.options, *shape)
  if row.attended == _ALL:
    recipes.bind_parameter('OptionQueries.attended', row.options)
  make = {
    'options': many_options_draft.option_queries,
    'dense': many_options_draft.mean_classifier,
  }[row.kind]
  hours = row.attended == _ALL and row.options > _MOST_ATTENDING
  most = _NOTHING if hours else flags.most_gb
  return many_options_draft.measure(make(batch), batch, flags.steps, most)


if __name__ == '__main__':
  main()
