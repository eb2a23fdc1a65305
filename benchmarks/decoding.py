"""Speed of batch prediction against `generate` of transformers, and its settings.

    python -m benchmarks.decoding --model_dir=model --histories_dir=histories \
      --embeddings_dir=embeddings --peer_python=/path/to/python

The same trained soft prompts of the same test users before the same SmolLM2, two
threads each, one process after the other: ours free, kept to the answer's form, with
beams, with other weights; the peer behind the soft prompts, and behind the histories as
text (the first `_TEXT_USERS` users). Each at several batch sizes; the best counts.
Users a second are of a second pass, loading and compiling not counted, the adapter
included. Writes `benchmarks/results/decoding.json`; rows in it are not measured again.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.answers import test_histories
from benchmarks.processes import last_line
from persoma_tf import decoders
from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common import job
from pipelines.report.run_results import read_split
from tasks import genre_prediction, metrics, questions, text_history
from tasks.predictor import Predictor
from tasks.questions import Answer

_TEXT_USERS = 16
_OURS = {
  'free': {'constrained': False},
  'constrained': {},
  'constrained, 4 beams': {'beams': 4},
  'constrained, bfloat16': {'weights': 'bfloat16'},
  'constrained, int8': {'weights': 'int8'},
}
_SIZES = {'free': (64, 128, 208), 'constrained': (64, 208)}  # else 64


def main() -> None:
  """Measures in processes of their own and writes what they say of each other."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  for name in ('model_dir', 'histories_dir', 'embeddings_dir'):
    parser.add_argument(f'--{name}', required=True)
  parser.add_argument('--peer_python')
  parser.add_argument('--work_dir', default='runs/decoding')
  parser.add_argument('--ours', help='internal: name,batch size')
  flags = parser.parse_args()
  if flags.ours:
    name, _, size = flags.ours.rpartition(',')
    print(json.dumps(measure(flags, name, int(size))))
    return
  path = pathlib.Path(__file__).parent / 'results' / 'decoding.json'
  rows = json.loads(path.read_text())['rows'] if path.exists() else {}
  inputs = write_inputs(flags)
  for name, command in commands(flags, inputs).items():
    if name not in rows:
      rows[name] = last_line(command)
      path.write_text(json.dumps(about(rows), indent=2) + '\n')
  print(json.dumps(about(rows)['ratios'], indent=2))


def commands(flags, inputs: str) -> dict[str, list[str]]:
  """What is measured, in its order, and how."""
  ours = [sys.executable, '-m', 'benchmarks.decoding']
  ours += [f'--{x}={getattr(flags, x)}' for x in ('model_dir', 'histories_dir')]
  ours += [f'--embeddings_dir={flags.embeddings_dir}']
  found = {
    f'ours {name}, B={size}': [*ours, f'--ours={name},{size}']
    for name in _OURS
    for size in _SIZES.get(name, (64,))
  }
  if flags.peer_python:
    peer = [flags.peer_python, 'benchmarks/generate_peer.py', f'--inputs={inputs}']
    peer += [f'--gguf={decoders.gguf_file("smollm2-135m-instruct")}']
    for dtype, show, sizes in (
      ('float32', 'soft_prompts', (32, 64, 128)),
      ('bfloat16', 'soft_prompts', (64, 128)),
      ('float32', 'text', (1, 4)),
    ):
      for size in sizes:
        settings = [f'--show={show}', f'--batch_size={size}', f'--dtype={dtype}']
        found[f'peer {show} {dtype}, B={size}'] = [*peer, *settings]
  return found


def write_inputs(flags) -> str:
  """What the peer is shown, as the predictor makes it; kept for later calls."""
  path = pathlib.Path(flags.work_dir, 'inputs.npz')
  if path.exists():
    return str(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  predictor = load(flags, Decoding(constrained=False), 64)
  histories = test_histories(str(pathlib.Path(flags.histories_dir).parent))
  vocabulary = genre_prediction.VOCABULARY
  limits = text_history.HistoryLimits(text_history.history_limits().items, 1 << 20)
  shown = text_history.load_interactions(flags.histories_dir)
  texts = [
    shown.prompt(x['history_items'], x['history_ratings'], limits)
    for x in histories[:_TEXT_USERS]
  ]
  longest = max(map(len, texts))
  np.savez(
    path,
    soft_prompts=predictor.soft_prompts(histories),
    prompt=np.array(vocabulary.encode(questions.TASK_PROMPT)),
    texts=np.stack([np.pad(x, (longest - len(x), 0)) for x in texts]),
    eos_id=vocabulary.eos_id,
    max_tokens=genre_prediction.feature_lengths()['targets'],
  )
  return str(path)


def load(flags, decoding: Decoding, size: int) -> Predictor:
  """The predictor of the flags."""
  return Predictor(
    flags.model_dir, flags.histories_dir, flags.embeddings_dir, size, decoding
  )


def measure(flags, name: str, size: int) -> dict:
  """One of ours at one batch size."""
  predictor = load(flags, Decoding(**_OURS[name]), size)
  folder = pathlib.Path(flags.histories_dir)
  histories = test_histories(str(folder.parent))
  first = time.perf_counter()
  predictor.predict(histories)
  started = time.perf_counter()
  made = predictor.predict(histories)
  seconds = time.perf_counter() - started
  rows = [x.row for x in made]
  genres = json.loads((folder / 'dataset_info.json').read_text())['genres']
  truth = read_split(str(folder), 'test', genres).truth
  answers = [Answer(x['predicted_liked'], x['predicted_disliked']) for x in rows]
  found = {
    'users': len(rows),
    'users_a_second': len(rows) / seconds,
    'tokens_a_second': sum(x.tokens for x in made) / seconds,
    'first_pass_seconds': started - first,
    'parse_failures': sum(not row['parse_ok'] for row in rows),
    'f1': metrics.weighted_scores(truth, metrics.indicator(answers, genres))['f1'],
    'answers': [
      ' '.join(map(str, genre_prediction.VOCABULARY.encode(row['text'])))
      for row in rows
    ],
  }
  if name == 'free':
    found |= prefill_share(predictor, size)
  return found | {
    'peak_memory_gb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
  }


def prefill_share(predictor: Predictor, size: int) -> dict:
  """The prefill's share of the fastest matrix product."""
  model, params = predictor.model, predictor.params
  width = params['decoder']['embedder']['embedding'].shape[1]
  prefix = jnp.ones((size, 22, width)) * 0.1
  mask = jnp.ones(prefix.shape[:2], bool)

  def prefill(params, prefix, mask):
    variables = {'params': params['decoder']}
    return model.decoder.apply(variables, prefix, mask, 16, method='prefill')

  square = jnp.ones((2048, 2048))
  fastest = lambda f, *args: min(timed(jax.jit(f), *args) for _ in range(8))
  peak = 2 * 2048**3 / fastest(jnp.matmul, square, square)
  layers = [x for name, x in params['decoder'].items() if name.startswith('layers')]
  weights = sum(x.size for x in jax.tree.leaves(layers) if x.ndim == 2)
  reached = 2 * weights * prefix.shape[0] * prefix.shape[1]
  reached /= fastest(prefill, params, prefix, mask)
  return {'matmul_gflops': peak / 1e9, 'prefill_share_of_peak': reached / peak}


def timed(function, *args) -> float:
  """Seconds of one call."""
  started = time.perf_counter()
  jax.block_until_ready(function(*args))
  return time.perf_counter() - started


def best(rows: dict, kind: str) -> dict:
  """The fastest row of a kind."""
  found = [row for name, row in rows.items() if name.rpartition(', B=')[0] == kind]
  return max(found, key=lambda row: row['users_a_second'], default=None)


def about(rows: dict) -> dict:
  """The results file."""
  speed = lambda kind: (best(rows, kind) or {}).get('users_a_second')
  ratios = {}
  for ours in ('ours free', 'ours constrained'):
    for peer in ('soft_prompts float32', 'soft_prompts bfloat16', 'text float32'):
      if speed(ours) and speed(f'peer {peer}'):
        ratios[f'{ours} / peer {peer}'] = speed(ours) / speed(f'peer {peer}')
  free, peer = best(rows, 'ours free'), best(rows, 'peer soft_prompts float32')
  if free and peer:
    pairs = zip(free['answers'], peer['answers'], strict=True)
    ratios['users with the same answer'] = float(np.mean([x == y for x, y in pairs]))
  if speed('ours constrained'):
    hours = 1e6 / speed('ours constrained') / 3600
    ratios['hours a million users, constrained'] = hours
  return {
    'command': 'python -m benchmarks.decoding',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions('jax', 'flax'),
    'ratios': ratios,
    'rows': rows,
  }


if __name__ == '__main__':
  main()
