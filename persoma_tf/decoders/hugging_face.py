"""Reads Hugging Face folders (config.json, safetensors) of decoder-only models."""

import re
from typing import Any

from flax import traverse_util

from persoma_tf import model_files
from persoma_tf.decoders import stack, start_tokens
from persoma_tf.decoders.causal_lm import Config, names_in_file
from persoma_tf.decoders.decoder_only import check_heads
from persoma_tf.decoders.families import BY_MODEL_TYPE
from persoma_tf.decoders.families.family import FULL, SLIDING, Family, head_dim_of
from persoma_tf.decoders.hugging_face_folder import HuggingFaceFolder

# Our name -> Hugging Face's name of a matrix of a layer. Stored as [out, in].
_MATRICES = {
  'attention/query': 'self_attn.q_proj',
  'attention/key': 'self_attn.k_proj',
  'attention/value': 'self_attn.v_proj',
  'attention/out': 'self_attn.o_proj',
  'gate': 'mlp.gate_proj',
  'up': 'mlp.up_proj',
  'down': 'mlp.down_proj',
}
# Angles of the rotations, which older folders store; they follow from config.json.
_ANGLES = re.compile(r'model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq')
_NORMS = {'attention_norm': 'input_layernorm', 'mlp_norm': 'post_attention_layernorm'}
_SANDWICH_NORMS = {
  'attention_norm': 'input_layernorm',
  'attention_out_norm': 'post_attention_layernorm',
  'mlp_norm': 'pre_feedforward_layernorm',
  'mlp_out_norm': 'post_feedforward_layernorm',
}
_HEAD_NORMS = {
  'attention/query_norm': 'self_attn.q_norm',
  'attention/key_norm': 'self_attn.k_norm',
}
# Not only of the settings that a family's own implementation reads: a folder that has
# one was made for another implementation.
_EXPECTED = {
  'partial_rotary_factor': (1, None),
  'attn_logit_softcapping': (None,),
  'final_logit_softcapping': (None,),
  'tie_word_embeddings': (True, False, None),
}


def read_hugging_face(folder: str) -> tuple[Config, dict]:
  """Reads a model from a Hugging Face folder.

  Args:
    folder: path of the folder, see `HuggingFaceFolder`.

  Returns:
    (configuration, parameters of `CausalLm`; see `HuggingFaceFolder.read`).

  Raises:
    ValueError: a file is missing, or the model is not supported.
  """
  opened = HuggingFaceFolder(folder)
  family = BY_MODEL_TYPE[opened.config['model_type']]
  if opened.is_part:
    opened.config.add_defaults(family.defaults)
  opened.expect(_EXPECTED | family.expected)
  _check_layers(opened)
  config = _config(opened, family)
  check_heads(config, opened.file)
  return config, _params(opened, family, config)


def _check_layers(folder: HuggingFaceFolder) -> None:
  """Checks the kinds of the layers and their rotations."""
  if unknown := {*(folder.config.get('layer_types') or ())} - {FULL, SLIDING}:
    raise ValueError(
      f'{folder.file}: layer_types has {sorted(unknown)}; expected only '
      f'{[FULL, SLIDING]}'
    )
  rope = folder.config.get('rope_parameters') or {}
  # Gemma 3 has one dict for each kind of layer.
  for part in (rope, *(value for value in rope.values() if isinstance(value, dict))):
    if part.get('partial_rotary_factor', 1) != 1:
      raise ValueError(
        f'{folder.file}: rope_parameters.partial_rotary_factor='
        f'{part["partial_rotary_factor"]!r}; expected 1'
      )


def _config(folder: HuggingFaceFolder, family: Family) -> Config:
  settings = folder.config
  heads, tied = settings['num_attention_heads'], settings.get('tie_word_embeddings')
  with model_files.named(folder.file):
    own = family.settings(settings)
  return Config(
    family=family.model_type,
    vocab_size=settings['vocab_size'],
    d_model=settings['hidden_size'],
    num_heads=heads,
    num_kv_heads=settings.get('num_key_value_heads') or heads,
    head_dim=head_dim_of(settings),
    d_ff=settings['intermediate_size'],
    norm_epsilon=settings['rms_norm_eps'],
    start_token=start_tokens.of_folder(folder, family.always_starts),
    tied=family.tied if tied is None else tied,
    **own,
  )


def folder_names(config: Config) -> dict[str, str]:
  """Maps the parameters of a layer to Hugging Face's names in `layers.<number>.`."""
  norms = _SANDWICH_NORMS if config.sandwich_norms else _NORMS
  norms = norms | (_HEAD_NORMS if config.query_key_norm else {})
  return names_in_file(config, _MATRICES, norms)


def _params(
  folder: HuggingFaceFolder, family: Family, config: Config
) -> dict[str, Any]:
  body, output = folder.text_names()
  embedding = f'{body}embed_tokens.weight'
  once = {'embedder/embedding': embedding, 'final_norm/scale': f'{body}norm.weight'}
  once |= {} if config.tied else {'output/kernel': output}
  layers = range(config.num_layers)
  each = {
    ours: [f'{body}layers.{number}.{name}' for number in layers]
    for ours, name in folder_names(config).items()
  }
  copies = [output] if config.tied else []
  known = {*once.values(), *(name for names in each.values() for name in names)}
  _check_tensors(folder, known, copies, embedding)

  def ours(path, array):
    """Returns a tensor as our parameter; Gemma's norms are stored less 1."""
    if path.endswith('scale'):
      return array + family.norm_offset
    return array.T if path.endswith('kernel') else array

  flat = {path: ours(path, folder.read(name)) for path, name in once.items()}
  for path, names in each.items():
    read = lambda name, path=path: ours(path, folder.read(name))
    flat[f'layers/{path}'] = stack.stacked(names, read, folder.path)
  return traverse_util.unflatten_dict(flat, sep='/')


def _check_tensors(folder, known, copies, embedding):
  """Checks that the model reads all tensors of the text."""
  unread = [*copies, *filter(_ANGLES.fullmatch, folder.files), *folder.other_parts()]
  folder.expect_tensors(known, unread)
  folder.expect_copies(copies, embedding)
