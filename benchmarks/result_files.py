"""Results of the benchmarks, and how tables of them are written."""

import json
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / 'benchmarks' / 'results'
SETS = ('ml-100k', 'ml-latest-small')
SIZES = ('N=50', 'N=200')
PROBE = 'label rule on the genres that a linear probe reads from the vectors'


def read(name: str) -> dict:
  """A results file."""
  return json.loads((RESULTS / f'{name}.json').read_text())


def markdown(headers, rows) -> str:
  """A table; rows of texts."""
  lines = [headers, ['---'] * len(headers), *rows]
  return ''.join(f'| {" | ".join(line)} |\n' for line in lines)
