"""One job for several questions against a job for each: what it saves.

    python -m benchmarks.questions_at_once --data=/path/to/ml-latest-small \
      [--repetitions=3] [--work_dir=runs/shared_questions]

`batch_predict --questions=all` against a job for each question, over the test split of
the model of `benchmarks.shared_questions` (seed 0), from the command to the finished
folders, in turns. Everything is compiled before. Writes
`benchmarks/results/questions_at_once.json`.
"""

import argparse
import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time

from benchmarks.decoding import machine
from benchmarks.result_files import RESULTS
from benchmarks.shared_questions import SCORES, open_model, prepare, records_of, train
from pipelines.common import job

_STEPS = 900
_BATCH = 64


def main() -> None:
  """Trains what is missing, measures and writes."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data', required=True, help='the folder of ml-latest-small')
  parser.add_argument('--repetitions', type=int, default=3)
  parser.add_argument('--work_dir', default='runs/shared_questions')
  flags = parser.parse_args()
  work = pathlib.Path(flags.work_dir, 'seed_0')
  prepare(work, flags.data, 0)
  train(work, 'together', _STEPS, 0)
  about = {
    'command': 'python -m benchmarks.questions_at_once',
    'date': time.strftime('%Y-%m-%d'),
    'machine': machine(),
    'versions': job.versions('jax', 'flax'),
    **speed(work, flags.repetitions),
  }
  path = RESULTS / 'questions_at_once.json'
  path.write_text(json.dumps(about, indent=2) + '\n')
  print(json.dumps(about, indent=2))


def speed(work: pathlib.Path, repetitions: int) -> dict:
  """Seconds of one job with all questions, and of a job for each."""
  jobs = {'together': ['all'], 'a job each': [*SCORES]}
  seconds = {name: [] for name in jobs}
  for number in range(repetitions + 1):
    for name, asked in jobs.items():
      took = [predicted(work, questions) for questions in asked]
      if number:  # the first compiles
        seconds[name].append([sum(x) for x in zip(*took, strict=True)])
  users = json.loads((work / 'histories/dataset_info.json').read_text())['counts']
  answers = {'users': users['users']['test']}
  answers |= {name: x['test'] for name, x in users['examples'].items()}
  pairs = [seconds[name] for name in jobs]
  ratios = [apart[0] / one[0] for one, apart in zip(*pairs, strict=True)]
  return {
    'answers': answers,
    'seconds (wall, processor)': seconds,
    'users a second': {
      name: answers['users'] / statistics.median(x[0] for x in found)
      for name, found in seconds.items()
    },
    'ratios': ratios,
    'ratio': statistics.median(ratios),
    'seconds of a batch': parts_of_a_batch(work),
  }


def parts_of_a_batch(work: pathlib.Path) -> dict[str, dict[str, float]]:
  """Seconds of 64 soft prompts and of their answers, once compiled, by question."""
  model, found = open_model(work, 'together', [*SCORES]), {}
  for name in SCORES:
    own = model.asking(name)
    records = records_of(work, own)[:_BATCH]
    for what, make in {'soft prompts': own.soft_prompts, 'all': own.predict}.items():
      make(records)  # compiles
      started = time.monotonic()
      make(records)
      found.setdefault(name, {})[what] = time.monotonic() - started
  return found


def predicted(work: pathlib.Path, questions: str) -> tuple[float, float]:
  """Wall and processor seconds of a job, from its command to its end."""
  shutil.rmtree(work / 'predictions', ignore_errors=True)
  folders = {'model': 'together'} | {x: x for x in ('histories', 'embeddings')}
  folders['output'] = 'predictions'
  command = [sys.executable, '-m', 'pipelines.batch_predict']
  command += [f'--{name}_dir={work}/{x}' for name, x in folders.items()]
  spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
  started, before = time.monotonic(), spent()
  subprocess.run([*command, f'--questions={questions}'], check=True)
  return time.monotonic() - started, spent() - before


if __name__ == '__main__':
  main()
