"""Speed and memory of the quickstart's decoder here and in another checkout.

    git worktree add /tmp/before <commit>
    python -m benchmarks.before_after --before=/tmp/before --data_dir=runs/quickstart

`--data_dir` is the run of a quickstart. Answers kept to the form, and training steps of
the adapter through the decoder, as `benchmarks.decoding` and
`benchmarks.training_speed` of each checkout measure them, in processes of their own,
one checkout after the other, three times. Writes
`benchmarks/results/before_after.json`:
the medians, and the ratios here / before.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from benchmarks.decoding import machine
from benchmarks.processes import HUGE_PAGES
from benchmarks.result_files import RESULTS, ROOT

TIMES = 3
# Name -> arguments of a benchmark; its field that tells the speed.
ANSWERS = {
  f'answers, {kind}': ['benchmarks.decoding', f'--ours=constrained, {kind}, 64']
  for kind in ('float32', 'bfloat16')
}
STEPS = {
  f'steps, {kind}': ['benchmarks.training_speed', f'--ours=targets,{kind},8']
  for kind in ('float32', 'bfloat16')
}


def main() -> None:
  """Measures and writes."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--before', required=True, type=pathlib.Path)
  parser.add_argument('--data_dir', required=True, type=pathlib.Path)
  flags = parser.parse_args()
  data = flags.data_dir.absolute()
  rows: dict[str, dict[str, list[dict]]] = {}
  with tempfile.TemporaryDirectory() as work:
    folders = {
      'benchmarks.decoding': [
        *(f'--model_dir={data}/model', f'--histories_dir={data}/histories'),
        *(f'--embeddings_dir={data}/embeddings', f'--work_dir={work}'),
      ],
      'benchmarks.training_speed': [f'--data_dir={data}', f'--work_dir={work}'],
    }
    for _ in range(TIMES):
      for name, (module, ours) in {**ANSWERS, **STEPS}.items():
        for side, checkout in (('before', flags.before), ('here', ROOT)):
          row = measured(checkout, [module, *folders[module], ours])
          rows.setdefault(name, {}).setdefault(side, []).append(row)
          print(name, side, row, flush=True)
  found = {name: about(sides) for name, sides in rows.items()}
  commit = subprocess.check_output(
    ['git', '-C', flags.before, 'rev-parse', '--short', 'HEAD'], text=True
  )
  result = {'machine': machine(), 'before': commit.strip(), 'rows': found}
  (RESULTS / 'before_after.json').write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(found, indent=2))


def measured(checkout: pathlib.Path, command: list[str]) -> dict[str, float]:
  """Speed and memory that a benchmark of a checkout tells."""
  done = subprocess.run(
    [sys.executable, '-m', *command],
    check=True,
    stdout=subprocess.PIPE,
    text=True,
    cwd=checkout,
    env=os.environ | HUGE_PAGES | {'PYTHONPATH': ''},
  )
  row = json.loads(done.stdout.splitlines()[-1])
  speed = row.get('users_a_second') or 1 / row['seconds_a_step']
  return {'speed': speed, 'peak_memory_gb': row['peak_memory_gb']}


def about(sides: dict[str, list[dict]]) -> dict:
  """Medians of both sides, and their ratios."""
  fields = ('speed', 'peak_memory_gb')
  middle = {
    side: {field: statistics.median(row[field] for row in rows) for field in fields}
    for side, rows in sides.items()
  }
  ratios = {field: middle['here'][field] / middle['before'][field] for field in fields}
  return {**middle, 'ratio': ratios}


if __name__ == '__main__':
  main()
