"""T5 models of any size whose weights a seed decides, in Hugging Face's names.

The recording and the tests make the same weights, so that nothing of them need be
stored. Plain numpy: transformers is not where the tests run.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from safetensors import numpy as safetensors

_BASE = {
  'architectures': ['T5ForConditionalGeneration'],
  'model_type': 't5',
  'decoder_start_token_id': 0,
  'pad_token_id': 0,
  'eos_token_id': 1,
  'vocab_size': 32_128,
  'd_kv': 64,
  'relative_attention_num_buckets': 32,
  'layer_norm_epsilon': 1e-6,
}
SMALL = _BASE | {  # of T5 1.0, 60 M
  'd_model': 512,
  'd_ff': 2048,
  'num_layers': 6,
  'num_heads': 8,
}
BASE = _BASE | {  # of T5 1.1 and Flan-T5, 248 M
  'd_model': 768,
  'd_ff': 2048,
  'num_layers': 12,
  'num_heads': 12,
  'feed_forward_proj': 'gated-gelu',
  'tie_word_embeddings': False,
}
# Widths of the heads do not add up to the model's, the stacks differ in depth, and
# short sequences reach the last bucket.
TINY = {
  'vocab_size': 60,
  'd_model': 20,
  'd_kv': 8,
  'd_ff': 24,
  'num_layers': 2,
  'num_decoder_layers': 3,
  'num_heads': 3,
  'relative_attention_num_buckets': 8,
  'relative_attention_max_distance': 10,
}
TINY_V1_0, TINY_V1_1 = SMALL | TINY, BASE | TINY


def weights(config: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Float32 weights; attention is sharp and logits are some units wide."""
  made = {}
  for number, (name, shape, scale) in enumerate(_shapes(config)):
    x = np.random.default_rng(number).standard_normal(shape, np.float32)
    made[name] = np.float32(scale) * (1 + x / 4 if len(shape) == 1 else x)
  return made


def write(folder: pathlib.Path, config: Mapping[str, Any]) -> pathlib.Path:
  """A folder as transformers 4 stored it."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(config))
  file = folder / 'model.safetensors'
  safetensors.save_file(weights(config), file, metadata={'format': 'pt'})
  return folder


def _shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...], float]]:
  """(name, shape, size of the values) of each tensor."""
  d_model, d_ff = config['d_model'], config['d_ff']
  inner = config['num_heads'] * config['d_kv']
  buckets = config['relative_attention_num_buckets']
  inputs = ('wi_0', 'wi_1') if 'feed_forward_proj' in config else ('wi',)
  # Where they are the output too, tall embeddings would have each token repeat itself.
  tied = config.get('tie_word_embeddings', True)
  yield 'shared.weight', (config['vocab_size'], d_model), 0.3 if tied else 3
  if not tied:
    yield 'lm_head.weight', (config['vocab_size'], d_model), 3 * d_model**-0.5
  depths = {
    'encoder': config['num_layers'],
    'decoder': config.get('num_decoder_layers', config['num_layers']),
  }
  finals = {'encoder': 1, 'decoder': 10 if tied else 1}
  for stack, depth in depths.items():
    yield f'{stack}.final_layer_norm.weight', (d_model,), finals[stack]
    bias = 'layer.0.SelfAttention.relative_attention_bias'
    yield f'{stack}.block.0.{bias}.weight', (buckets, config['num_heads']), 1
    attentions = ['SelfAttention'] + ['EncDecAttention'] * (stack == 'decoder')
    for block in range(depth):
      for place, kind in enumerate([*attentions, 'DenseReluDense']):
        layer = f'{stack}.block.{block}.layer.{place}'
        yield f'{layer}.layer_norm.weight', (d_model,), 1
        if kind == 'DenseReluDense':
          for name in inputs:
            yield f'{layer}.{kind}.{name}.weight', (d_ff, d_model), d_model**-0.5
          yield f'{layer}.{kind}.wo.weight', (d_model, d_ff), d_ff**-0.5
          continue
        # Scores are not scaled, hence the small queries.
        scales = {'q': 2 * (d_model * config['d_kv']) ** -0.5}
        for name in 'qkv':
          scale = scales.get(name, d_model**-0.5)
          yield f'{layer}.{kind}.{name}.weight', (inner, d_model), scale
        yield f'{layer}.{kind}.o.weight', (d_model, inner), inner**-0.5
