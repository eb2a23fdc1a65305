"""Speed of batch prediction against `generate` of transformers, and its settings.

    python -m benchmarks.decoding --model_dir=model --histories_dir=histories \
      --embeddings_dir=embeddings --peer_python=/path/to/python

The same trained soft prompts of the same test users before the same SmolLM2, two
threads each, one process after the other: ours free, kept to the answer's form, with
beams, each with several types of weights; the peer behind the soft prompts, and with
`--with_text` behind the histories as text (the first `_TEXT_USERS` users). Each at
several batch sizes; the best counts.

Users a second are of the median of three passes after a first one, loading and
compiling not counted, the adapter included. No compiled code is read from a cache.
Writes `benchmarks/results/decoding.json`; rows in it are not measured again. What the
peer is shown is kept in `--work_dir`: name another one for another model.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import sys
import time
from collections.abc import Sequence

import gin
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.answers import indicator, test_histories
from benchmarks.processes import last_line
from persoma_tf import decoders, operand_types
from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common import job
from pipelines.report.run_results import read_split
from pipelines.report.scoring import score_methods
from tasks import genre_prediction, questions, text_history
from tasks.history_columns import HistoryColumns
from tasks.predictor import Predictor

_TEXT_USERS = 16
_PASSES = 3
_PREFIX = 22  # 17 soft tokens and 5 of the task prompt
_KINDS = {
  'constrained': {},
  'free': {'constrained': False},
  'constrained, 4 beams': {'beams': 4},
}
TYPES = ('float32', 'bfloat16')
_CASES = (  # kind, types of the weights, batch sizes
  ('constrained', TYPES, (64, 208)),
  ('free', TYPES, (64, 208)),
  ('constrained', ('int8',), (64,)),
  ('constrained, 4 beams', TYPES, (64,)),
)
_RESULTS = pathlib.Path(__file__).parent / 'results' / 'decoding.json'


def main() -> None:
  """Measures in processes of their own and writes what they say of each other."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  for name in ('model_dir', 'histories_dir', 'embeddings_dir'):
    parser.add_argument(f'--{name}', required=True)
  parser.add_argument('--peer_python')
  parser.add_argument('--with_text', action='store_true', help='histories as text, too')
  parser.add_argument('--work_dir', default='runs/decoding')
  parser.add_argument('--out', type=pathlib.Path, default=_RESULTS)
  parser.add_argument('--ours', help='internal: kind, weights, batch size')
  flags = parser.parse_args()
  if flags.ours:
    kind, weights, size = flags.ours.rsplit(', ', 2)
    print(json.dumps(measure(flags, kind, weights, int(size))))
    return
  rows = json.loads(flags.out.read_text())['rows'] if flags.out.exists() else {}
  flags.out.parent.mkdir(parents=True, exist_ok=True)
  for name, command in commands(flags).items():
    if name not in rows:
      rows[name] = last_line(command)
      flags.out.write_text(json.dumps(about(rows), indent=2) + '\n')
  print(json.dumps(ratios(rows), indent=2))


def commands(flags) -> dict[str, list[str]]:
  """What is measured, in its order, and how."""
  ours = [sys.executable, '-m', 'benchmarks.decoding']
  ours += [f'--{x}={getattr(flags, x)}' for x in ('model_dir', 'histories_dir')]
  ours += [f'--embeddings_dir={flags.embeddings_dir}']
  found = {
    f'ours {kind}, {weights}, B={size}': [*ours, f'--ours={kind}, {weights}, {size}']
    for kind, types, sizes in _CASES
    for size in sizes
    for weights in types
  }
  if flags.peer_python:
    peer = [flags.peer_python, 'benchmarks/generate_peer.py']
    peer += [f'--inputs={write_inputs(flags)}']
    peer += [f'--decoder={decoders.gguf_file("smollm2-135m-instruct")}']
    cases = [('soft_prompts', x, size) for size in (64, 128) for x in TYPES]
    if flags.with_text:
      cases += [('text', 'float32', size) for size in (1, 4)]
    for show, dtype, size in cases:
      settings = [f'--show={show}', f'--batch_size={size}', f'--dtype={dtype}']
      found[f'peer {show}, {dtype}, B={size}'] = [*peer, *settings]
  return found


def write_inputs(flags) -> str:
  """What the peer is shown, as the predictor makes it; kept for later calls."""
  path = pathlib.Path(flags.work_dir, 'inputs.npz')
  if path.exists():
    return str(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  predictor = load(flags, Decoding(constrained=False, weights='float32'), 64)
  histories = test_histories(str(pathlib.Path(flags.histories_dir).parent))
  vocabulary = genre_prediction.VOCABULARY
  limits = text_history.HistoryLimits(text_history.history_limits().items, 1 << 20)
  shown = text_history.load_interactions(flags.histories_dir)
  texts = [
    shown.prompt(HistoryColumns.of_record(x), limits) for x in histories[:_TEXT_USERS]
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


def measure(flags, kind: str, weights: str, size: int) -> dict:
  """One of ours at one batch size."""
  jax.config.update('jax_enable_compilation_cache', False)
  predictor = load(flags, Decoding(**_KINDS[kind], weights=weights), size)
  histories = test_histories(str(pathlib.Path(flags.histories_dir).parent))
  seconds = []
  for _ in range(1 + _PASSES):
    started = time.perf_counter()
    made = predictor.predict(histories)
    seconds.append(time.perf_counter() - started)
  first, *seconds = seconds
  median, rows = statistics.median(seconds), [x.row for x in made]
  encode = genre_prediction.VOCABULARY.encode
  found = {
    'seed': gin.query_parameter('train.seed'),
    'seconds': seconds,
    'users_a_second': len(rows) / median,
    'tokens_a_second': sum(x.tokens for x in made) / median,
    'first_pass_seconds': first,
    'compile_seconds': first - median,
    'peak_memory_gb': peak_memory_gb(),
    **scores(flags.histories_dir, rows),
    # int8 is multiplied as bfloat16.
    'matmul_gflops': matmul_gflops('float32' if weights == 'float32' else 'bfloat16'),
    'answers': [' '.join(map(str, encode(row['text']))) for row in rows],
  }
  if kind == 'free':
    share = prefill_gflops(predictor, size) / found['matmul_gflops']
    found['prefill_share_of_peak'] = share
  return found


def scores(histories_dir: str, rows: Sequence[dict]) -> dict:
  """Scores of the test users' answers, F1 with its 95 % interval over the users."""
  info = pathlib.Path(histories_dir, 'dataset_info.json').read_text()
  genres = json.loads(info)['genres']
  truth = read_split(histories_dir, 'test', genres).truth
  answers = {'persoma': indicator(rows, genres)}
  failures = sum(not row['parse_ok'] for row in rows)
  drawn = {'bootstrap_samples': 1000, 'seed': 0}
  return score_methods(truth, answers, failures, drawn)['persoma']


def prefill_gflops(predictor: Predictor, size: int) -> float:
  """The speed of the prefill, from its products with the layers' matrices alone."""
  model, params = predictor.engine.model, predictor.engine.params
  width = params['decoder']['embedder']['embedding'].shape[1]
  prefix = jnp.ones((size, _PREFIX, width)) * 0.1
  mask = jnp.ones(prefix.shape[:2], bool)

  def prefill(params, prefix, mask):
    variables = {'params': params['decoder']}
    return model.decoder.apply(variables, prefix, mask, 16, method='prefill')

  layers = [x for name, x in params['decoder'].items() if name.startswith('layers')]
  weights = sum(x.size for x in jax.tree.leaves(layers) if x.ndim == 2)
  seconds = fastest(jax.jit(prefill), params, prefix, mask, calls=6)
  return 2 * weights * size * _PREFIX / seconds / 1e9


def matmul_gflops(
  dtype: str, shapes: Sequence[tuple[int, int, int]] = ((2048, 2048, 2048),)
) -> float:
  """The fastest product of two matrices of a type, the result in float32."""
  product = jax.jit(lambda x, y: jnp.dot(x, y, preferred_element_type=jnp.float32))
  speed = lambda m, k, n: (
    2 * m * k * n / fastest(product, jnp.ones((m, k), dtype), jnp.ones((k, n), dtype))
  )
  return max(speed(*shape) for shape in shapes) / 1e9


def fastest(function, *args, calls: int = 12) -> float:
  """Seconds of the fastest of some calls; the first one compiles."""
  times = []
  for _ in range(calls):
    started = time.perf_counter()
    jax.block_until_ready(function(*args))
    times.append(time.perf_counter() - started)
  return min(times)


def peak_memory_gb() -> float:
  """This process's largest resident memory; `getrusage` would count its parent's."""
  status = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) / 1e6


def about(rows: dict[str, dict]) -> dict:
  """The results file."""
  for name, row in rows.items():
    twin = _in_float32(name)
    if twin != name and twin in rows:
      row['same_answers'] = same_answers(row, rows[twin])
  return {
    'command': 'python -m benchmarks.decoding',
    'machine': machine(),
    'versions': job.versions('jax', 'flax'),
    'ratios': ratios(rows),
    'rows': rows,
  }


def _in_float32(name):
  """The row of the same kind and size in float32."""
  return re.sub('bfloat16|int8', 'float32', name)


def same_answers(row: dict, other: dict) -> float:
  """The share of the users with the same answer in both rows."""
  pairs = zip(row['answers'], other['answers'], strict=True)
  return float(np.mean([x == y for x, y in pairs]))


def ratios(rows: dict[str, dict]) -> dict[str, float]:
  """Users a second of rows, and of the best sizes, over those of others."""
  best, found = {}, {}
  for name, row in rows.items():
    for kind in (name, f'{name.rpartition(", B=")[0]}, best'):
      best[kind] = max(best.get(kind, 0), row['users_a_second'])
  for kind, speed in best.items():
    if kind.startswith('ours') and 'bfloat16' in kind and _in_float32(kind) in best:
      title = kind.replace('bfloat16', 'bfloat16 / float32')
      found[title] = speed / best[_in_float32(kind)]
  peers = [x for x in best if x.startswith('peer') and x.endswith('best')]
  for kind in re.findall(r'ours \w+, (?:float32|bfloat16), best', '\n'.join(best)):
    found |= {f'{kind} / {peer}': best[kind] / best[peer] for peer in peers}
  of = lambda kind: [rows[x] for x in rows if x.startswith(kind)]
  free, peer = of('ours free, float32'), of('peer soft_prompts, float32')
  if free and peer:
    found['users with the same answer'] = same_answers(free[0], peer[0])
  kept = [best.get(f'ours constrained, {x}, best', 0) for x in (*TYPES, 'int8')]
  if max(kept):
    found['hours a million users, constrained'] = 1e6 / max(kept) / 3600
  return found


def machine() -> dict:
  """The processor, and its units for bfloat16 as Linux lists them."""
  lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
  pairs = (line.partition(':') for line in lines)
  fields = {name.strip(): value.strip() for name, _, value in pairs}
  return {
    'cpus': os.cpu_count(),
    'processor': platform.machine(),
    'model_name': fields.get('model name'),
    'bfloat16_units': operand_types.bfloat16_units(),
  }


if __name__ == '__main__':
  main()
