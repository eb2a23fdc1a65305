"""Reads Hugging Face folders of T5 models (T5 1.0, T5 1.1, Flan-T5)."""

import numpy as np
from flax import traverse_util

from persoma_tf.decoders.hugging_face_folder import HuggingFaceFolder
from persoma_tf.decoders.t5 import T5Config, layout
from persoma_tf.parameters import checkpoints

# Field of config.json that changes the computation -> values that `T5` supports.
_EXPECTED = {
  'model_type': ('t5',),
  'feed_forward_proj': ('relu', 'gated-gelu', None),
  'dense_act_fn': ('relu', 'gelu_new', None),
  'decoder_start_token_id': (0, None),
}
# Our name -> Hugging Face's name of a tensor that is not in a layer, or only in the
# first one. Matrices are stored as [out, in].
_BIAS = 'block.0.layer.0.SelfAttention.relative_attention_bias.weight'
_ONCE = {
  'token_embedder/embedding': 'shared.weight',
  'encoder/relpos_bias/rel_embedding': f'encoder.{_BIAS}',
  'encoder/encoder_norm/scale': 'encoder.final_layer_norm.weight',
  'decoder/relpos_bias/rel_embedding': f'decoder.{_BIAS}',
  'decoder/decoder_norm/scale': 'decoder.final_layer_norm.weight',
  'decoder/logits_dense/kernel': 'lm_head.weight',
}
# The same for the parts of a layer of each stack, and for the matrices in the parts.
_PARTS = {
  'encoder': {
    'pre_attention_layer_norm': '0.layer_norm',
    'attention': '0.SelfAttention',
    'pre_mlp_layer_norm': '1.layer_norm',
    'mlp': '1.DenseReluDense',
  },
  'decoder': {
    'pre_self_attention_layer_norm': '0.layer_norm',
    'self_attention': '0.SelfAttention',
    'pre_cross_attention_layer_norm': '1.layer_norm',
    'encoder_decoder_attention': '1.EncDecAttention',
    'pre_mlp_layer_norm': '2.layer_norm',
    'mlp': '2.DenseReluDense',
  },
}
_MATRICES = {'query': 'q', 'key': 'k', 'value': 'v', 'out': 'o'}
# Copies of shared.weight in folders that old versions of transformers have written.
_COPIES = ('encoder.embed_tokens.weight', 'decoder.embed_tokens.weight')
# A tensor in the published T5 1.0 folders that no implementation reads.
_UNUSED = 'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight'


def read_hugging_face_t5(folder: str) -> tuple[T5Config, dict]:
  """Reads a model from a Hugging Face folder.

  Args:
    folder: path of the folder, see `HuggingFaceFolder`.

  Returns:
    (configuration, parameters of `T5` as float32 numpy arrays).

  Raises:
    ValueError: the model is not supported, or a tensor is missing, unknown or of
      another shape.
  """
  opened = HuggingFaceFolder(folder)
  opened.expect(_EXPECTED)
  config = _config(opened.config)
  expected = layout(config)
  paths = traverse_util.flatten_dict(expected, sep='/')
  names = {path: _tensor_name(path) for path in paths}
  copies = [*_COPIES, *(['lm_head.weight'] if config.tied else [])]
  opened.expect_tensors(names.values(), [*copies, _UNUSED])
  opened.expect_copies(copies, 'shared.weight')
  arrays = {
    path: np.asarray(x if name == 'shared.weight' else x.T, np.float32)
    for path, name in names.items()
    for x in [opened.read(name)]
  }
  params = traverse_util.unflatten_dict(arrays, sep='/')
  checkpoints.check_same(expected, params, folder)
  return config, params


def _config(settings: dict) -> T5Config:
  # Newer versions of transformers write tie_word_embeddings=true for every T5. Whether
  # the logits are scaled is then in the field scale_decoder_outputs.
  tied = settings.get('scale_decoder_outputs', settings.get('tie_word_embeddings'))
  return T5Config(
    vocab_size=settings['vocab_size'],
    d_model=settings['d_model'],
    d_ff=settings['d_ff'],
    num_heads=settings['num_heads'],
    head_dim=settings['d_kv'],
    num_encoder_layers=settings['num_layers'],
    num_decoder_layers=settings.get('num_decoder_layers') or settings['num_layers'],
    gated=settings.get('feed_forward_proj') == 'gated-gelu',
    tied=tied is not False,
    num_buckets=settings.get('relative_attention_num_buckets', 32),
    max_distance=settings.get('relative_attention_max_distance', 128),
    norm_epsilon=settings.get('layer_norm_epsilon', 1e-6),
  )


def _tensor_name(path: str) -> str:
  """Returns Hugging Face's name of a parameter of `T5`.

  Args:
    path: path of the parameter, such as 'encoder/layers_0/mlp/wo/kernel'.
  """
  if path in _ONCE:
    return _ONCE[path]
  stack, layer, part, *matrix, _ = path.split('/')
  matrix = [_MATRICES.get(name, name) for name in matrix]
  number = layer.removeprefix('layers_')
  return '.'.join(
    [stack, 'block', number, 'layer', _PARTS[stack][part], *matrix, 'weight']
  )
