"""GGUF files of llama architecture to `Llama` parameters, dequantized to float32."""

import gguf
import numpy as np

from persoma_tf.decoders.llama import LlamaConfig

# Our name -> GGUF's name of a tensor in each layer. Matrices are stored [out, in].
_MATRICES = {
  'attention/query': 'attn_q',
  'attention/key': 'attn_k',
  'attention/value': 'attn_v',
  'attention/out': 'attn_output',
  'gate': 'ffn_gate',
  'up': 'ffn_up',
  'down': 'ffn_down',
}
_NORMS = {'attention_norm': 'attn_norm', 'mlp_norm': 'ffn_norm'}


def load(path: str) -> tuple[LlamaConfig, dict]:
  """Reads a model.

  Args:
    path: a GGUF file.

  Returns:
    Its configuration and the parameters of `Llama`, as numpy arrays.

  Raises:
    ValueError: the file is of another architecture.
  """
  reader = gguf.GGUFReader(path)
  meta = lambda key: reader.fields[key].contents()
  if meta('general.architecture') != 'llama':
    raise ValueError(
      f'{path}: architecture {meta("general.architecture")!r}; expected llama'
    )
  tensors = {tensor.name: tensor for tensor in reader.tensors}
  config = LlamaConfig(
    vocab_size=int(tensors['token_embd.weight'].shape[1]),
    num_layers=meta('llama.block_count'),
    d_model=meta('llama.embedding_length'),
    num_heads=meta('llama.attention.head_count'),
    num_kv_heads=meta('llama.attention.head_count_kv'),
    d_ff=meta('llama.feed_forward_length'),
    rope_base=meta('llama.rope.freq_base'),
    norm_epsilon=meta('llama.attention.layer_norm_rms_epsilon'),
    tied='output.weight' not in tensors,
  )
  return config, _params(tensors, config)


def _params(tensors, config):
  heads = {'attn_q': config.num_heads, 'attn_k': config.num_kv_heads}

  def stacked(name):
    """One tensor of all layers, [layers, in, out] or [layers, D]."""
    layers = []
    for index in range(config.num_layers):
      x = _dequantize(tensors[f'blk.{index}.{name}.weight'])
      x = _unpermute(x, heads[name]) if name in heads else x
      layers.append(x.T)
    return np.stack(layers)

  layers: dict = {'attention': {}}
  for path, name in _MATRICES.items():
    *parent, leaf = path.split('/')
    (layers[parent[0]] if parent else layers)[leaf] = {'kernel': stacked(name)}
  for path, name in _NORMS.items():
    layers[path] = {'scale': stacked(name)}
  params = {
    'embedder': {'embedding': _dequantize(tensors['token_embd.weight'])},
    'layers': layers,
    'final_norm': {'scale': _dequantize(tensors['output_norm.weight'])},
  }
  if not config.tied:
    params['output'] = {'kernel': _dequantize(tensors['output.weight']).T}
  return params


def _dequantize(tensor):
  return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)


def _unpermute(x, heads):
  """GGUF stores each head's rotary pairs side by side; we rotate its two halves."""
  pairs = x.reshape(heads, x.shape[0] // heads // 2, 2, -1)
  return pairs.swapaxes(1, 2).reshape(x.shape)
