"""Speed of the quickstart's decoder here and in another checkout, in one run.

    git worktree add /tmp/before <commit>
    python -m benchmarks.before_after --before=/tmp/before

SmolLM2-135M with random prefixes: 16 tokens of an answer behind 22 positions for 64
rows from a cache of unrolled layers, and the gradient of a loss by the prefix through
scanned layers for 8 rows, each with float32 and bfloat16 operands. Each checkout
measures in processes of its own, in turn, `--times` times; the median of all passes
counts. Writes `benchmarks/results/before_after.json`, with the ratios before / here of
the seconds: above 1 is faster here.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from persoma_tf import decoders
from persoma_tf.decoders import stack
from persoma_tf.parameters import quantization

ROOT = pathlib.Path(__file__).parents[1]
ROWS, PREFIX, TOKENS, TRAINED, PASSES = 64, 22, 16, 8, 5
KINDS = ('float32', 'bfloat16')


def main() -> None:
  """Measures and writes, or measures one type in this checkout."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--before', type=pathlib.Path)
  parser.add_argument('--times', type=int, default=3)
  parser.add_argument('--kind', choices=KINDS, help='internal')
  flags = parser.parse_args()
  if flags.kind:
    print(json.dumps(measure(flags.kind)))
    return
  found: dict[str, dict[str, list[float]]] = {}
  for _ in range(flags.times):
    for kind in KINDS:
      for side, checkout in (('before', flags.before), ('here', ROOT)):
        for name, seconds in of_checkout(checkout, kind).items():
          sides = found.setdefault(f'{name}, {kind}', {'before': [], 'here': []})
          sides[side] += seconds
          print(name, kind, side, seconds, flush=True)
  rows = {name: about(sides) for name, sides in found.items()}
  commit = ['git', '-C', str(flags.before), 'rev-parse', '--short', 'HEAD']
  result = {
    'cpus': os.cpu_count(),
    'before': subprocess.check_output(commit, text=True).strip(),
    'times': flags.times,
    'rows': rows,
  }
  file = ROOT / 'benchmarks' / 'results' / 'before_after.json'
  file.write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(rows, indent=2))


def about(sides: dict[str, list[float]]) -> dict[str, float]:
  """Medians of the seconds, and their ratio."""
  middle = {side: statistics.median(seconds) for side, seconds in sides.items()}
  return {**middle, 'ratio': middle['before'] / middle['here']}


def of_checkout(checkout: pathlib.Path, kind: str) -> dict[str, list[float]]:
  """Runs this file with the modules of a checkout."""
  variables = {'PYTHONPATH': str(checkout.absolute())}
  variables['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'  # docs/speed.md
  done = subprocess.run(
    [sys.executable, __file__, f'--kind={kind}'],
    check=True,
    stdout=subprocess.PIPE,
    text=True,
    cwd=checkout,
    env=os.environ | variables,
  )
  return json.loads(done.stdout.splitlines()[-1])


def measure(kind: str) -> dict[str, list[float]]:
  """Seconds of the passes of both computations."""
  decoder = decoders.load_decoder('smollm2-135m-instruct')
  rng = np.random.default_rng(0)
  prefix = rng.normal(0, 0.1, (ROWS, PREFIX, decoder.width)).astype(np.float32)
  params = quantization.converted(decoder.params, kind)
  module, params = stack.unrolled(decoder.module, params)
  written = timed(answer(module), jax.device_put(params), prefix)
  flat = traverse_util.flatten_dict({'decoder': dict(decoder.params)}, sep='/')
  frozen = quantization.frozen_operands(flat, kind)
  frozen = traverse_util.unflatten_dict(frozen, sep='/')['decoder']
  step = timed(gradient(decoder.module), jax.device_put(frozen), prefix[:TRAINED])
  return {'answers': written, 'gradient': step}


def answer(module):
  """A function (params, prefix) -> tokens [TOKENS, B], from a cache."""

  def write(params, prefix):
    call = lambda method, *args: module.apply({'params': params}, *args, method=method)
    known = jnp.broadcast_to(jnp.arange(40), (len(prefix), 40))
    best = lambda hidden: jnp.argmax(call('logits_of', hidden, known), -1)

    def step(state, _):
      token, cache = state
      hidden, cache = call('step', token.astype(jnp.int32), cache)
      return (best(hidden), cache), token

    mask = jnp.ones(prefix.shape[:2], bool)
    hidden, cache = call('prefill', prefix, mask, TOKENS)
    return jax.lax.scan(step, (best(hidden), cache), length=TOKENS)[1]

  return write


def gradient(module):
  """A function (params, prefix) -> the gradient of a loss by the prefix."""

  def loss(prefix, params):
    call = lambda method, *args: module.apply({'params': params}, *args, method=method)
    inputs = jnp.ones((len(prefix), TOKENS), jnp.int32)
    mask = jnp.ones(prefix.shape[:2], bool)
    hidden = call('target_hidden', prefix, mask, inputs)
    return jnp.sum(jax.nn.log_softmax(call('logits', hidden))[..., 3])

  return lambda params, prefix: jax.grad(loss)(prefix, params)


def timed(function, params, prefix) -> list[float]:
  """Seconds of each pass after a first one."""
  compiled, seconds = jax.jit(function), []
  for _ in range(1 + PASSES):
    started = time.perf_counter()
    jax.block_until_ready(compiled(params, prefix))
    seconds.append(time.perf_counter() - started)
  return seconds[1:]


if __name__ == '__main__':
  main()
