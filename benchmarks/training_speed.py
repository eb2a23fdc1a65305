"""Speed of a training step before a frozen decoder, against transformers with PEFT.

    python -m benchmarks.training_speed --data_dir=runs/quickstart \
      --peer_python=/path/to/python

`--data_dir` holds finished `histories` and `embeddings`; the peer's Python has torch,
transformers, peft and gguf. Both train soft tokens of the same number before the same
frozen SmolLM2 with two threads, on the same examples of the genre task. Measured: on
the same padded batches, and as each pads by itself (ours: answers of like length
together; the peer: to the longest answer of a batch). Ours computes the adapter too.
The seconds of a step are the median of three parts of the run. No compiled code is read
from a cache.

The machine's peak is the fastest product seen of matrices of the row's type, at 2,048³
or, in JAX, at the decoder's own shapes, the result in float32 (in torch: in the same
type). Writes `benchmarks/results/training_speed.json`; rows that are in it are not
measured again.
"""

import argparse
import dataclasses
import itertools
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import gin
import jax
import numpy as np

from benchmarks.decoding import machine, matmul_gflops, peak_memory_gb
from benchmarks.processes import last_line
from persoma_tf import decoders, recipes
from persoma_tf import model as persoma
from persoma_tf.parameters import freezing, quantization
from persoma_tf.training import (
  batching,
  training_run,  # noqa: F401  registers what recipes set
)
from persoma_tf.training.answer_vocabulary import bind_template
from persoma_tf.training.initial_adapter import init_adapter
from persoma_tf.training.stages import Stage, make_steps
from pipelines.common import job
from tasks import genre_prediction

_TASK = 'movielens_genre_prediction_subhistories_v1'
_SIZES, _TYPES = (8, 16), ('float32', 'bfloat16')
_CASES = (  # batch size, dtype, whether each side pads by itself; in their order
  *((size, dtype, False) for size in _SIZES for dtype in _TYPES),
  *((size, dtype, True) for dtype in reversed(_TYPES) for size in _SIZES),
)
_SAVED, _PARTS = 12, 3
_STEPS = 4  # of a part, where all steps are of the same length
_SOFT_TOKENS = 17  # of the quickstart's template
_PRODUCTS = ((2048, 2048, 2048), (408, 576, 1536), (408, 1536, 576))
_LIMIT, _LONGEST = 'padded to the limit', 'padded to the longest'
_RESULTS = pathlib.Path(__file__).parent / 'results' / 'training_speed.json'


def main() -> None:
  """Measures in processes of their own, one after the other, and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--peer_python')
  parser.add_argument('--work_dir', default='runs/training_speed')
  parser.add_argument('--out', type=pathlib.Path, default=_RESULTS)
  parser.add_argument('--ours', help='internal: group,dtype,batch size')
  flags = parser.parse_args()
  if flags.ours:
    group, dtype, size = flags.ours.split(',')
    print(json.dumps(measure(flags.data_dir, flags.work_dir, group, dtype, int(size))))
    return
  pathlib.Path(flags.work_dir).mkdir(parents=True, exist_ok=True)
  flags.out.parent.mkdir(parents=True, exist_ok=True)
  rows = json.loads(flags.out.read_text())['rows'] if flags.out.exists() else {}
  for name, command in commands(flags).items():
    if name not in rows:
      rows[name] = last_line(command)
      flags.out.write_text(json.dumps(about(rows), indent=2) + '\n')
  print(json.dumps(ratios(rows), indent=2))


def commands(flags) -> dict[str, list[str]]:
  """What is measured, in its order, and how."""
  found = {}
  ours = [sys.executable, '-m', 'benchmarks.training_speed']
  ours += [f'--data_dir={flags.data_dir}', f'--work_dir={flags.work_dir}']
  peer = [flags.peer_python, 'benchmarks/peft_peer.py']
  peer += [f'--gguf={decoders.gguf_file("smollm2-135m-instruct")}']
  peer += [f'--soft_tokens={_SOFT_TOKENS}', f'--parts={_PARTS}']
  for size, dtype, alone in _CASES:
    group, pads = ('targets', 'grouped') if alone else ('none', _LIMIT)
    found[f'ours, B={size} {dtype}, {pads}'] = [*ours, f'--ours={group},{dtype},{size}']
    if flags.peer_python:
      pad, pads = ('longest', _LONGEST) if alone else ('limit', _LIMIT)
      settings = [f'--batches={batches_file(flags.work_dir, size)}', f'--pad={pad}']
      settings += [f'--steps={_SAVED if alone else _STEPS}', f'--dtype={dtype}']
      found[f'peer, B={size} {dtype}, {pads}'] = [*peer, *settings]
  return found


def batches_file(work_dir: str, size: int) -> str:
  """Where the batches are kept that both sides train on."""
  return f'{work_dir}/{size}.npz'


def about(rows: dict[str, dict]) -> dict:
  """The results file."""
  for name, row in rows.items():
    row['examples_a_second'] = _size(name) / row['seconds_a_step']
  peaks = {
    f'{dtype}, {side or "both"}': max(found)
    for dtype in _TYPES
    for side in ('ours', '')
    if (found := [row['matmul_gflops'] for x, row in _some(rows, side, dtype)])
  }
  for dtype in _TYPES:
    for _, row in _some(rows, 'ours', dtype):
      row['share_of_peak'] = row['gflops'] / peaks[f'{dtype}, ours']
      row['share_of_peak_of_both'] = row['gflops'] / peaks[f'{dtype}, both']
  return {
    'command': 'python -m benchmarks.training_speed',
    'machine': machine(),
    'versions': job.versions('jax', 'flax'),
    'peak_gflops': peaks,
    'ratios': ratios(rows),
    'rows': rows,
  }


def _size(name: str) -> int:
  return int(name.split('B=')[1].split()[0])


def _some(rows, side, dtype):
  """The rows of a side, or of both, and a type."""
  return [(x, row) for x, row in rows.items() if x.startswith(side) and dtype in x]


def ratios(rows: dict[str, dict]) -> dict[str, float]:
  """Examples a second over those of others, of what is there."""
  speed = {name: row['examples_a_second'] for name, row in rows.items()}
  found = {}
  for size, dtype in itertools.product(_SIZES, _TYPES):
    pads = (_LIMIT, _LIMIT), ('grouped', _LIMIT), ('grouped', _LONGEST)
    for ours, peer in pads:
      case = f'B={size} {dtype}'
      pair = f'ours, {case}, {ours}', f'peer, {case}, {peer}'
      if speed.keys() >= {*pair}:
        name = f'{case}, ours {ours}, the peer {peer}'
        found[name] = speed[pair[0]] / speed[pair[1]]
  for name in speed:
    wide = name.replace('bfloat16', 'float32')
    if name.startswith('ours') and wide != name and wide in speed:
      found[name.replace('bfloat16', 'bfloat16 / float32')] = speed[name] / speed[wide]
  of_side = lambda side: [x for name, x in speed.items() if name.startswith(side)]
  ours, peer = of_side('ours'), of_side('peer')
  if ours and peer:
    found['ours best / peer best (any dtype)'] = max(ours) / max(peer)
  return found


class Run(NamedTuple):
  """What is trained, as the recipe of the quickstart says."""

  model: persoma.Persoma
  stage: Stage
  params: dict
  batches: list[dict]


def prepare(data_dir: str, work_dir: str, group: str, size: int) -> Run:
  """Loads the model and the batches; those that are padded are kept for the peer."""
  recipes.parse_recipes(
    ['runs/perceiver.gin'],
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
  stream = lambda group: batching.training_batches(
    _TASK, 'train', lengths, size, 0, group
  )
  full = stream('')
  batches = [next(full) for _ in range(_SAVED)]
  adapter = init_adapter(model, decoder, batches[0], words, 0)
  if group == 'none':
    names = {'prompts': 'encoder_input_tokens', 'targets': 'decoder_target_tokens'}
    kept = batches_file(work_dir, size)
    np.savez(kept, **{key: [x[name] for x in batches] for key, name in names.items()})
  else:
    grouped = stream(group)
    batches = [next(grouped) for _ in range(2 * _SAVED)]
  params = {'adapter': adapter, 'decoder': decoder.params}
  return Run(model, dataclasses.replace(stage, batch_size=size), params, batches)


def measure(data_dir: str, work_dir: str, group: str, dtype: str, size: int) -> dict:
  """Our step: seconds, what it multiplies, its loss and memory."""
  jax.config.update('jax_enable_compilation_cache', False)
  model, stage, params, batches = prepare(data_dir, work_dir, group, size)
  trained, frozen = freezing.split_params(params, stage.trainable)
  frozen = jax.device_put(quantization.frozen_operands(frozen, dtype))
  steps = make_steps(model, stage, dtype)
  state, times = steps.optimizer.init(trained), []
  shapes = {x['decoder_target_tokens'].shape: x for x in batches}
  first = [*shapes.values(), batches[0]]  # compiles
  # Where steps differ in length, each part has all batches.
  length = _STEPS if group == 'none' else len(batches)
  measured = [batches[step % len(batches)] for step in range(_PARTS * length)]
  for batch in (*first, *measured):
    started = time.perf_counter()
    trained, state, metrics = steps.update(trained, state, frozen, batch)
    jax.block_until_ready(metrics)
    times.append(time.perf_counter() - started)
  middle = statistics.median if group == 'none' else statistics.mean
  seconds = [middle(part) for part in parts(times[len(first) :], length)]
  median = statistics.median(seconds)
  soft = len(gin.query_parameter('TemplateReadout.layout'))
  assert soft == _SOFT_TOKENS
  flops = np.mean([multiplied(model.decoder.config, x, soft) for x in measured])
  return {
    'seconds': seconds,
    'seconds_a_step': median,
    'compile_seconds': times[0] - median,
    'gflops': float(flops) / median / 1e9,
    'target_tokens': genre_prediction.feature_lengths()['targets'],
    'loss': float(metrics['loss']),
    'peak_memory_gb': peak_memory_gb(),
    'matmul_gflops': matmul_gflops(dtype, _PRODUCTS),
  }


def parts(times: Sequence[float], length: int) -> list[Sequence[float]]:
  """Cuts into parts of a length."""
  return [times[at : at + length] for at in range(0, len(times), length)]


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


if __name__ == '__main__':
  main()
