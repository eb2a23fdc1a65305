"""Memory and seconds of loading a decoder from a Hugging Face folder.

    python -m benchmarks.loading

Makes a Qwen 3 of random weights, 0.5 B parameters in bfloat16 in two files, and loads
it in a process of its own. Writes `benchmarks/results/loading.json`: the peak memory
above that of the process before, as a multiple of the weights, and the same where every
matrix becomes float32, as until now.
"""

import argparse
import json
import pathlib
import re
import sys
import tempfile
import time

import ml_dtypes
import numpy as np
from safetensors.flax import save_file

from benchmarks.decoding import machine
from benchmarks.processes import last_line
from benchmarks.result_files import RESULTS

LAYERS, WIDTH, HIDDEN, VOCABULARY = 20, 1024, 3584, 96_000
CONFIG = {
  'model_type': 'qwen3',
  'vocab_size': VOCABULARY,
  'hidden_size': WIDTH,
  'num_hidden_layers': LAYERS,
  'num_attention_heads': 16,
  'num_key_value_heads': 8,
  'head_dim': 128,
  'intermediate_size': HIDDEN,
  'rms_norm_eps': 1e-6,
  'rope_theta': 1e6,
  'hidden_act': 'silu',
  'tie_word_embeddings': True,
}


def main() -> None:
  """Measures and writes."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--folder', help='internal: what to load')
  parser.add_argument('--widen', action='store_true', help='internal')
  flags = parser.parse_args()
  if flags.folder:
    print(json.dumps(measure(flags.folder, flags.widen)))
    return
  with tempfile.TemporaryDirectory() as folder:
    size = write(pathlib.Path(folder))
    command = [sys.executable, '-m', 'benchmarks.loading', f'--folder={folder}']
    rows = {
      'as stored': last_line(command),
      'float32': last_line([*command, '--widen']),
    }
  for row in rows.values():
    row['peak_of_weights'] = row['peak_bytes'] / size
  result = {'machine': machine(), 'weights_bytes': size, 'rows': rows}
  (RESULTS / 'loading.json').write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(result, indent=2))


def write(folder: pathlib.Path) -> int:
  """Writes the folder; returns the bytes of its weights."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(0, 0.02, shape).astype(ml_dtypes.bfloat16)
  wide, small = 16 * 128, 8 * 128
  shapes = {
    'self_attn.q_proj': (wide, WIDTH),
    'self_attn.k_proj': (small, WIDTH),
    'self_attn.v_proj': (small, WIDTH),
    'self_attn.o_proj': (WIDTH, wide),
    'self_attn.q_norm': (128,),
    'self_attn.k_norm': (128,),
    'mlp.gate_proj': (HIDDEN, WIDTH),
    'mlp.up_proj': (HIDDEN, WIDTH),
    'mlp.down_proj': (WIDTH, HIDDEN),
    'input_layernorm': (WIDTH,),
    'post_attention_layernorm': (WIDTH,),
  }
  places, total = {}, 0
  for part in range(2):
    numbers = range(part * LAYERS // 2, (part + 1) * LAYERS // 2)
    tensors = {
      f'model.layers.{number}.{name}.weight': draw(*shape)
      for number in numbers
      for name, shape in shapes.items()
    }
    if not part:
      tensors['model.embed_tokens.weight'] = draw(VOCABULARY, WIDTH)
      tensors['model.norm.weight'] = draw(WIDTH)
    file = f'model-{part + 1:05}-of-00002.safetensors'
    save_file(tensors, folder / file)
    places |= dict.fromkeys(tensors, file)
    total += sum(x.nbytes for x in tensors.values())
  index = {'weight_map': places}
  (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
  (folder / 'config.json').write_text(json.dumps(CONFIG))
  return total


def measure(folder: str, widen: bool) -> dict[str, float]:
  """Seconds and peak memory of loading above that of the process before."""
  import jax

  from persoma_tf import decoders
  from persoma_tf.decoders import causal_lm, hugging_face, start_tokens  # noqa: F401

  jax.numpy.zeros(1).block_until_ready()
  before, started = memory('VmRSS'), time.monotonic()
  # Linux counts the peak of the parent, which has made the weights, as the child's.
  pathlib.Path('/proc/self/clear_refs').write_text('5')
  loaded = decoders.load_decoder(folder)
  if widen:
    wide = jax.tree.map(lambda x: np.asarray(x, np.float32), dict(loaded.params))
    loaded = loaded._replace(params=wide)
  seconds = time.monotonic() - started
  stored = sum(x.nbytes for x in jax.tree.leaves(dict(loaded.params)))
  return {
    'seconds': round(seconds, 2),
    'peak_bytes': memory('VmHWM') - before,
    'kept_bytes': stored,
  }


def memory(field: str) -> int:
  """Bytes of memory of this process: VmRSS now, VmHWM at its peak."""
  status = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(rf'^{field}:\s+(\d+) kB', status, re.MULTILINE)[1]) * 1024


if __name__ == '__main__':
  main()
