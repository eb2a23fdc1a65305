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
import subprocess
import sys
import tempfile
import time

import gin
import jax
import jax.numpy as jnp
import numpy as np

from persoma_tf import batching, decoders, freezing, recipes, train
from persoma_tf import model as persoma
from persoma_tf.stages import cast_decoder, make_steps
from pipelines import job
from tasks import genre_prediction

_TASK = 'movielens_genre_prediction_subhistories_v1'
_HUGE_PAGES = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}
_BATCH, _SAVED, _STEPS = 8, 16, 24


def main() -> None:
  """Measures in processes of their own, one after the other, and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--peer_python')
  parser.add_argument('--ours', help='internal: measure in this process')
  parser.add_argument('--batches', help='internal: where the batches are kept')
  flags = parser.parse_args()
  if flags.ours:
    print(json.dumps(measure(flags.data_dir, flags.batches, *flags.ours.split(','))))
    return
  result = {
    'command': 'python -m benchmarks.training_speed',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions('jax', 'flax'),
    'batch_size': _BATCH,
    **compare(flags),
  }
  path = pathlib.Path(__file__).parent / 'results' / 'training_speed.json'
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(result, indent=2))


def compare(flags) -> dict:
  """All measurements and their ratios."""
  with tempfile.TemporaryDirectory() as folder:
    ours, peer, kept = {}, {}, f'{folder}/batches.npz'
    for group in ('', 'targets'):
      for dtype in ('float32', 'bfloat16'):
        command = [sys.executable, '-m', 'benchmarks.training_speed']
        command += [f'--data_dir={flags.data_dir}', f'--batches={kept}']
        name = f'{dtype}, {"grouped by length" if group else "padded to the limit"}'
        ours[name] = child([*command, f'--ours={group or "none"},{dtype}'])
    tokens = ours['float32, padded to the limit']['soft_tokens']
    for pad in ('limit', 'longest'):
      for dtype in ('float32', 'bfloat16'):
        command = [flags.peer_python, 'benchmarks/peft_peer.py', f'--pad={pad}']
        command += [f'--gguf={decoders.gguf_file("smollm2-135m-instruct")}']
        command += [f'--batches={kept}', f'--dtype={dtype}', f'--soft_tokens={tokens}']
        peer[f'{dtype}, padded to the {pad}'] = child(command)
  for row in peer.values():
    row['examples_a_second'] = _BATCH / row['seconds_a_step']
  peak = {'jax and numpy, float32': max(x['matmul_gflops'] for x in ours.values())}
  peak['torch, float32'] = peer['float32, padded to the limit']['matmul_gflops']
  best = max(peak.values())
  speed = lambda rows, name: rows[name]['examples_a_second']
  same = 'float32, padded to the limit'
  for row in ours.values():
    row['share_of_peak'] = row['gflops'] / best
  return {
    'ours': ours,
    'peer': peer,
    'peak_gflops': peak,
    'ratios': {
      'same padded batches, float32': speed(ours, same) / speed(peer, same),
      'each as it pads, float32': speed(ours, 'float32, grouped by length')
      / speed(peer, 'float32, padded to the longest'),
      'our best over its best of all': max(speed(ours, x) for x in ours)
      / max(speed(peer, x) for x in peer),
      'ours grouped, the peer to the limit, float32': speed(
        ours, 'float32, grouped by length'
      )
      / speed(peer, same),
    },
  }


def child(command) -> dict:
  """What a process prints last; both sides get huge pages, which both like."""
  done = subprocess.run(
    command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | _HUGE_PAGES
  )
  row = json.loads(done.stdout.splitlines()[-1])
  print(command[-3:], row, flush=True)
  return row


def measure(data_dir: str, kept: str, group: str, dtype: str) -> dict:
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
  stage = dataclasses.replace(stage, batch_size=_BATCH)
  stream = lambda group: batching.batches(_TASK, 'train', lengths, _BATCH, 0, group)
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
    batches = [next(grouped) for _ in range(3 * _SAVED)]
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
    'examples_a_second': _BATCH / seconds,
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
