"""F1 of the quickstart's recipe with another decoder, frozen and with LoRA.

    python -m benchmarks.other_decoder [--decoder=gemma3-270m] [--run=runs/quickstart] \
      [--work_dir=runs/gemma3-270m]

Trains on the histories and embeddings of a finished `make quickstart` with seed 0,
answers the test users kept to the form of an answer and free, and scores both. What is
there already is not run again; its seconds are then not told. Writes
`benchmarks/results/decoder_<name>.json`.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

from benchmarks.decoding import machine
from benchmarks.processes import HUGE_PAGES
from benchmarks.result_files import RESULTS
from pipelines.common import job

_SCORES = ('f1', 'f1_low', 'f1_high', 'parse_failures', 'users')


def main() -> None:
  """Runs what is missing and writes the results."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--decoder', default='gemma3-270m')
  parser.add_argument('--run', type=pathlib.Path, default='runs/quickstart')
  parser.add_argument('--work_dir', type=pathlib.Path)
  flags = parser.parse_args()
  name = pathlib.Path(flags.decoder).name
  work = flags.work_dir or pathlib.Path('runs', name)
  data = [f'--{x}_dir={flags.run}/{x}' for x in ('histories', 'embeddings')]
  rows = {
    tuning: measure(work / tuning, flags.decoder, tuning, data)
    for tuning in ('frozen', 'lora')
  }
  result = {
    'command': f'python -m benchmarks.other_decoder --decoder={name}',
    'machine': machine(),
    'versions': job.versions('jax', 'flax'),
    'seed': 0,
    'rows': rows,
  }
  path = RESULTS / f'decoder_{name}.json'
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(path)


def measure(work: pathlib.Path, decoder: str, tuning: str, data: list[str]) -> dict:
  """Trains, answers twice and scores; returns scores, seconds and peak memory."""
  model = f'--model_dir={work}/model'
  settings = [f'--gin.DECODER={decoder!r}', f'--gin.train.tuning={tuning!r}']
  recipe = ['--gin_file=runs/quickstart.gin', *settings]
  found = {'train': timed(work / 'model', 'persoma_tf.train', *recipe, *data, model)}
  for form, flag in (('constrained', '--constrained'), ('free', '--noconstrained')):
    answers, report = work / f'predictions_{form}', work / f'report_{form}'
    out = f'--output_dir={answers}'
    spent = timed(answers, 'pipelines.batch_predict', flag, *data, model, out)
    where = [f'--predictions_dir={answers}', f'--output_dir={report}']
    timed(report, 'pipelines.evaluate', *data, model, *where)
    scores = json.loads((report / 'metrics.json').read_text())['methods']
    found[form] = {
      **spent,
      **{
        method: {key: scores[method][key] for key in _SCORES}
        for method in ('persoma', 'draft', 'linear_probe', 'rule_on_sample')
      },
    }
  return found


def timed(folder: pathlib.Path, module: str, *arguments: str) -> dict:
  """Runs a job; returns its seconds and the largest peak memory of a job so far.

  The seconds are None where the folder is finished already.
  """
  done, started = (folder / 'COMPLETED').exists(), time.monotonic()
  command = [sys.executable, '-m', module, *arguments]
  subprocess.run(command, check=True, env=os.environ | HUGE_PAGES)
  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
  seconds = None if done else round(time.monotonic() - started)
  return {'seconds': seconds, **({} if done else {'peak_bytes_so_far': peak})}


if __name__ == '__main__':
  main()
