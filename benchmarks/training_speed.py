"""Speed of a training step before a frozen decoder, against transformers with PEFT.

    python -m benchmarks.training_speed --data_dir=runs/quickstart \
      --peer_python=/path/to/python

`--data_dir` holds finished `histories` and `embeddings`; the peer's Python has torch,
transformers, peft and gguf. Both train soft tokens of the same number before the same
frozen SmolLM2 with two threads, on the same examples of the genre task. Measured: on
the same padded batches, and as each pads by itself (ours: answers of like length
together; the peer: to the longest answer of a batch). Ours computes the adapter too.

The machine's peak is the fastest float32 matrix product seen, in JAX, numpy or torch,
at 2,048³ or at the decoder's own shapes. Writes
`benchmarks/results/training_speed.json`; rows that are in it are not measured again.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import resource
import sys
import time

import gin
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.processes import last_line
from persoma_tf import decoders, recipes
from persoma_tf import model as persoma
from persoma_tf.parameters import freezing
from persoma_tf.training import (
  batching,
  training_run,  # noqa: F401  registers what recipes set
)
from persoma_tf.training.answer_vocabulary import bind_template
from persoma_tf.training.stages import cast_decoder, make_steps
from pipelines.common import job
from tasks import genre_prediction

_TASK = 'movielens_genre_prediction_subhistories_v1'
_CASES = ((8, 'float32'), (16, 'float32'), (16, 'bfloat16'))  # batch size, dtype
_SAVED, _STEPS = 12, 12
_SOFT_TOKENS = 17  # of the quickstart's template


def main() -> None:
  """Measures in processes of their own, one after the other, and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--peer_python')
  parser.add_argument('--work_dir', default='runs/training_speed')
  parser.add_argument('--ours', help='internal: group,dtype,batch size')
  flags = parser.parse_args()
  if flags.ours:
    group, dtype, size = flags.ours.split(',')
    print(json.dumps(measure(flags.data_dir, flags.work_dir, group, dtype, int(size))))
    return
  pathlib.Path(flags.work_dir).mkdir(parents=True, exist_ok=True)
  path = pathlib.Path(__file__).parent / 'results' / 'training_speed.json'
  rows = json.loads(path.read_text())['rows'] if path.exists() else {}
  for name, command in commands(flags).items():
    if name not in rows:
      rows[name] = last_line(command)
      path.write_text(json.dumps(about(rows), indent=2) + '\n')
  print(json.dumps(ratios(rows), indent=2))


def commands(flags) -> dict[str, list[str]]:
  """What is measured, in its order, and how."""
  found = {}
  for size, dtype in _CASES:
    ours = [sys.executable, '-m', 'benchmarks.training_speed']
    ours += [f'--data_dir={flags.data_dir}', f'--work_dir={flags.work_dir}']
    peer = [flags.peer_python, 'benchmarks/peft_peer.py', f'--steps={_STEPS}']
    peer += [f'--gguf={decoders.gguf_file("smollm2-135m-instruct")}']
    peer += [f'--batches={batches_file(flags.work_dir, size)}']
    peer += [f'--soft_tokens={_SOFT_TOKENS}', f'--dtype={dtype}']
    case = f'B={size} {dtype}'
    found |= {
      f'ours, {case}, padded to the limit': [*ours, f'--ours=none,{dtype},{size}'],
      f'peer, {case}, padded to the limit': [*peer, '--pad=limit'],
      f'ours, {case}, grouped': [*ours, f'--ours=targets,{dtype},{size}'],
      f'peer, {case}, padded to the longest': [*peer, '--pad=longest'],
    }
  return found


def batches_file(work_dir: str, size: int) -> str:
  """Where the batches are kept that both sides train on."""
  return f'{work_dir}/{size}.npz'


def about(rows: dict[str, dict]) -> dict:
  """The results file."""
  for name, row in rows.items():
    row['examples_a_second'] = _size(name) / row['seconds_a_step']
  float32 = [row['matmul_gflops'] for x, row in rows.items() if 'float32' in x]
  for row in rows.values():
    if 'gflops' in row:
      row['share_of_peak'] = row['gflops'] / max(float32)
  return {
    'command': 'python -m benchmarks.training_speed',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions('jax', 'flax'),
    'peak_float32_gflops': max(float32),
    'ratios': ratios(rows),
    'rows': rows,
  }


def _size(name: str) -> int:
  return int(name.split('B=')[1].split()[0])


def ratios(rows: dict[str, dict]) -> dict[str, float]:
  """Our examples a second over the peer's, of what is there."""
  limit, longest = 'padded to the limit', 'padded to the longest'
  speed = {name: row['examples_a_second'] for name, row in rows.items()}
  found = {}
  for size, dtype in _CASES:
    for ours, peer in ((limit, limit), ('grouped', limit), ('grouped', longest)):
      case = f'B={size} {dtype}'
      pair = f'ours, {case}, {ours}', f'peer, {case}, {peer}'
      if speed.keys() >= {*pair}:
        name = f'{case}, ours {ours}, the peer {peer}'
        found[name] = speed[pair[0]] / speed[pair[1]]
  of_side = lambda side: [x for name, x in speed.items() if side in name]
  ours, peer = of_side('ours'), of_side('peer')
  if ours and peer:
    found['fastest of all, bfloat16 included'] = max(ours) / max(peer)
  return found


def measure(data_dir: str, work_dir: str, group: str, dtype: str, size: int) -> dict:
  """Our step: seconds, examples a second, and what it multiplies."""
  recipes.parse_recipes(
    ['runs/quickstart.gin'],
    [
      f'HISTORIES_DIR = {data_dir + "/histories"!r}',
      f'EMBEDDINGS_DIR = {data_dir + "/embeddings"!r}',
      'history_limits.items = 50',
    ],
  )
  words = bind_template(genre_prediction.answer_template(), _TASK)
  model, decoder = persoma.build()
  lengths = genre_prediction.feature_lengths()
  stage = gin.query_parameter('train.stages')[1].scoped_configurable_fn()
  stage = dataclasses.replace(stage, batch_size=size)
  stream = lambda group: batching.training_batches(
    _TASK, 'train', lengths, size, 0, group
  )
  full = stream('')
  batches = [next(full) for _ in range(_SAVED)]
  adapter = persoma.init_adapter(model, decoder, batches[0], words, 0)
  if group == 'none':
    names = {
      'prompts': 'encoder_input_tokens',
      'targets': 'decoder_target_tokens',
    }
    kept = batches_file(work_dir, size)
    np.savez(kept, **{key: [x[name] for x in batches] for key, name in names.items()})
  else:
    grouped = stream(group)
    batches = [next(grouped) for _ in range(2 * _SAVED)]
  params = {'adapter': adapter, 'decoder': decoder.params}
  trained, frozen = freezing.split_params(params, stage.trainable)
  frozen = jax.device_put(cast_decoder(frozen, dtype))
  steps = make_steps(model, stage, dtype)
  state = steps.optimizer.init(trained)
  shapes = {x['decoder_target_tokens'].shape: x for x in batches}
  for batch in (*shapes.values(), batches[0]):  # compiles
    trained, state, metrics = steps.update(trained, state, frozen, batch)
  times, flops, soft = [], 0.0, len(gin.query_parameter('TemplateReadout.layout'))
  assert soft == _SOFT_TOKENS
  for step in range(max(_STEPS, len(batches))):
    batch, started = batches[step % len(batches)], time.perf_counter()
    trained, state, metrics = steps.update(trained, state, frozen, batch)
    jax.block_until_ready(metrics)
    times.append(time.perf_counter() - started)
    flops += multiplied(model.decoder.config, batch, soft)
  # Means where steps differ in length, the median where they do not.
  seconds = float(np.mean(times) if group != 'none' else np.median(times))
  return {
    'seconds_a_step': seconds,
    'gflops': flops / len(times) / seconds / 1e9,
    'target_tokens': lengths['targets'],
    'loss': float(metrics['loss']),
    'matmul_gflops': peak(),
    'peak_memory_gb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
  }


def multiplied(config, batch, soft: int) -> float:
  """Floating-point operations of the decoder's matrix products, forward and backward.

  To the inputs only: a frozen matrix has no gradient. Attention's own products count.
  """
  rows, target = batch['decoder_target_tokens'].shape
  length = soft + batch['encoder_input_tokens'].shape[1] + target - 1
  width, kv = config.d_model, config.num_kv_heads * config.head_dim
  layer = 2 * width * width + 2 * width * kv + 3 * width * config.d_ff
  attention = 2 * length * width  # scores and values, each a position
  layers = rows * length * config.num_layers * (layer + attention)
  logits = rows * target * width * config.vocab_size
  # Attention is differentiated twice, to queries or weights and to keys or values.
  extra = rows * length * config.num_layers * attention
  return 2.0 * (2 * layers + 2 * logits + extra)


def peak() -> float:
  """Fastest float32 product in JAX and numpy, GFLOP/s."""
  found = []
  for m, k, n in ((2048, 2048, 2048), (408, 576, 1536), (408, 1536, 576)):
    a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
    sides = ((jax.jit(jnp.matmul), jax.device_put((a, b))), (np.matmul, (a, b)))
    for product, pair in sides:
      times = []
      for _ in range(12):
        started = time.perf_counter()
        jax.block_until_ready(product(*pair))
        times.append(time.perf_counter() - started)
      found.append(2 * m * k * n / np.median(times) / 1e9)
  return max(found)


if __name__ == '__main__':
  main()
