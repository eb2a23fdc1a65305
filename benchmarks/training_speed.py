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
`benchmarks/results/training_speed.json`.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import resource
import sys
import tempfile
import time

import gin
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.processes import last_line
from persoma_tf import batching, decoders, freezing, recipes, train
from persoma_tf import model as persoma
from persoma_tf.stages import cast_decoder, make_steps
from pipelines import job
from tasks import genre_prediction

_TASK = 'movielens_genre_prediction_subhistories_v1'
_CASES = ((8, 'float32'), (16, 'float32'), (16, 'bfloat16'))  # batch size, dtype
_SAVED, _STEPS = 12, 12


def main() -> None:
  """Measures in processes of their own, one after the other, and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--peer_python')
  parser.add_argument('--ours', help='internal: group,dtype,batch size')
  parser.add_argument('--batches', help='internal: where the batches are kept')
  flags = parser.parse_args()
  if flags.ours:
    print(json.dumps(measure(flags.data_dir, flags.batches, *flags.ours.split(','))))
    return
  result = {
    'command': 'python -m benchmarks.training_speed',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions('jax', 'flax'),
    **compare(flags),
  }
  path = pathlib.Path(__file__).parent / 'results' / 'training_speed.json'
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(result, indent=2))


def compare(flags) -> dict:
  """All measurements and their ratios."""
  ours, peer = {}, {}
  with tempfile.TemporaryDirectory() as folder:
    for size, dtype in _CASES:
      common = [f'--batches={folder}/{size}.npz']
      case = f'B={size} {dtype}'
      for group, name in (('none', 'padded to the limit'), ('targets', 'grouped')):
        command = [sys.executable, '-m', 'benchmarks.training_speed', *common]
        command += [f'--data_dir={flags.data_dir}', f'--ours={group},{dtype},{size}']
        ours[f'{case}, {name}'] = row = last_line(command)
      for pad in ('limit', 'longest'):
        command = [flags.peer_python, 'benchmarks/peft_peer.py', *common]
        command += [f'--gguf={decoders.gguf_file("smollm2-135m-instruct")}']
        command += [f'--pad={pad}', f'--dtype={dtype}', f'--steps={_STEPS}']
        command += [f'--soft_tokens={row["soft_tokens"]}']
        row = last_line(command)
        row['examples_a_second'] = size / row['seconds_a_step']
        peer[f'{case}, padded to the {pad}'] = row
  peaks = [row['matmul_gflops'] for row in ours.values()]
  peaks += [row['matmul_gflops'] for name, row in peer.items() if 'float32' in name]
  for row in ours.values():
    row['share_of_peak'] = row['gflops'] / max(peaks)
  return {
    'ours': ours,
    'peer': peer,
    'peak_float32_gflops': max(peaks),
    'ratios': ratios(ours, peer),
  }


def ratios(ours, peer) -> dict[str, float]:
  """Our examples a second over the peer's."""
  speed = lambda rows, name: rows[name]['examples_a_second']
  fastest = lambda rows: max(speed(rows, name) for name in rows)
  found = {}
  for size in sorted({size for size, _ in _CASES}):
    case = f'B={size} float32'
    limit = speed(peer, f'{case}, padded to the limit')
    longest = speed(peer, f'{case}, padded to the longest')
    grouped = speed(ours, f'{case}, grouped')
    same = speed(ours, f'{case}, padded to the limit')
    found[f'{case}, the same padded batches'] = same / limit
    found[f'{case}, ours grouped, the peer padded to the limit'] = grouped / limit
    found[f'{case}, ours grouped, the peer padded to the longest'] = grouped / longest
  found['fastest of all, bfloat16 included'] = fastest(ours) / fastest(peer)
  return found


def measure(data_dir: str, kept: str, group: str, dtype: str, size: str) -> dict:
  """Our step: seconds, examples a second, and what it multiplies."""
  recipes.parse(
    ['runs/quickstart.gin'],
    [
      f'HISTORIES_DIR = {data_dir + "/histories"!r}',
      f'EMBEDDINGS_DIR = {data_dir + "/embeddings"!r}',
      'history_limits.items = 50',
    ],
  )
  words = train.bind_template(genre_prediction.answer_template(), _TASK)
  model, decoder = persoma.build()
  lengths = genre_prediction.feature_lengths()
  stage = gin.query_parameter('train.stages')[1].scoped_configurable_fn()
  size = int(size)
  stage = dataclasses.replace(stage, batch_size=size)
  stream = lambda group: batching.batches(_TASK, 'train', lengths, size, 0, group)
  full = stream('')
  batches = [next(full) for _ in range(_SAVED)]
  adapter = persoma.init_adapter(model, decoder, batches[0], words, 0)
  if group == 'none':
    names = {
      'prompts': 'encoder_input_tokens',
      'targets': 'decoder_target_tokens',
    }
    np.savez(kept, **{key: [x[name] for x in batches] for key, name in names.items()})
  else:
    grouped = stream(group)
    batches = [next(grouped) for _ in range(2 * _SAVED)]
  params = {'adapter': adapter, 'decoder': decoder.params}
  trained, frozen = freezing.split(params, stage.trainable)
  frozen = jax.device_put(cast_decoder(frozen, dtype))
  steps = make_steps(model, stage, dtype)
  state = steps.optimizer.init(trained)
  shapes = {x['decoder_target_tokens'].shape: x for x in batches}
  for batch in (*shapes.values(), batches[0]):  # compiles
    trained, state, metrics = steps.update(trained, state, frozen, batch)
  times, flops, soft = [], 0.0, len(gin.query_parameter('TemplateReadout.layout'))
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
    'examples_a_second': size / seconds,
    'gflops': flops / len(times) / seconds / 1e9,
    'soft_tokens': soft,
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
