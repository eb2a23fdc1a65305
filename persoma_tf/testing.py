"""Small models of random weights, to test a data set or a recipe in seconds.

They have the files of the real ones, Hugging Face folders with a tokenizer, and need no
download. What they answer means nothing; everything else is as in a full run.
`pipelines.try_dataset.run_chain` runs all jobs with them.
"""

import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers
from safetensors.numpy import save_file

# Bindings that make the recipes here small.
SMALL_RECIPE = (
  'history_limits.items = 12',
  'sub_history.min_items = 4',
  'Perceiver.width = 16',
  'Perceiver.num_layers = 1',
  'Perceiver.num_heads = 2',
  'TemplateReadout.hidden = 16',
  'OptionQueries.hidden = 16',
  'OptionQueries.width = 16',
  'OptionQueries.num_layers = 1',
  'AskedItem.hidden = 16',
  'AskedItem.width = 16',
  'AskedItem.num_heads = 2',
  'histories/Stage.batch_size = 4',
  'decoder/Stage.batch_size = 2',
  'users/Stage.batch_size = 2',
  'histories/Stage.steps = 6',
  'decoder/Stage.steps = 5',
  'users/Stage.steps = 3',
  "histories/Stage.group_by = ''",  # one shape to compile
  "decoder/Stage.group_by = ''",
  "users/Stage.group_by = ''",
  'train.checkpoint_period = 3',
  'train.log_period = 2',
)
_WIDTH, _HIDDEN, _LAYERS = 16, 24, 2
_DECODER = {
  'model_type': 'qwen3',
  'hidden_size': _WIDTH,
  'num_hidden_layers': _LAYERS,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'head_dim': 6,
  'intermediate_size': _HIDDEN,
  'rms_norm_eps': 1e-6,
  'rope_theta': 1e6,
  'hidden_act': 'silu',
  'tie_word_embeddings': True,
}
_ENCODER = {
  'model_type': 'bert',
  'hidden_size': _WIDTH,
  'num_hidden_layers': _LAYERS,
  'num_attention_heads': 4,
  'intermediate_size': _HIDDEN,
  'layer_norm_eps': 1e-12,
  'max_position_embeddings': 64,
  'type_vocab_size': 2,
  'hidden_act': 'gelu',
}


def small_flags(decoder: str | pathlib.Path) -> list[str]:
  """Returns flags of `persoma_tf.train` that make a run small.

  Args:
    decoder: path of the decoder, which also is the tasks' vocabulary if the recipe has
      DECODER.
  """
  return gin_flags([f'DECODER = {str(decoder)!r}', *SMALL_RECIPE])


def gin_flags(bindings: Iterable[str]) -> list[str]:
  """Returns the flags of a command line for gin bindings "NAME = VALUE"."""
  return [f'--gin.{binding.replace(" = ", "=", 1)}' for binding in bindings]


def write_decoder(folder: str | pathlib.Path) -> pathlib.Path:
  """Writes a Qwen 3 of about 8,000 parameters, whose token 0 is the text '!'.

  Args:
    folder: path of a new folder.
  """
  folder = pathlib.Path(folder)
  size = _begin_folder(folder, _DECODER, ['<|im_start|>', '<|im_end|>'])
  settings = {'tokenizer_class': 'Qwen2Tokenizer', 'eos_token': '<|im_end|>'}
  settings['add_bos_token'] = False
  _write_json(folder / 'tokenizer_config.json', settings)
  attention = {'q_proj': (24, 16), 'k_proj': (12, 16), 'v_proj': (12, 16)}
  attention |= {'o_proj': (16, 24), 'q_norm': (6,), 'k_norm': (6,)}
  feed_forward = {'gate_proj': (24, 16), 'up_proj': (24, 16), 'down_proj': (16, 24)}
  layer = {
    **{f'self_attn.{name}': shape for name, shape in attention.items()},
    **{f'mlp.{name}': shape for name, shape in feed_forward.items()},
    **dict.fromkeys(('input_layernorm', 'post_attention_layernorm'), (16,)),
  }
  shapes = {'model.embed_tokens': (size, 16), 'model.norm': (16,)}
  for number in range(_LAYERS):
    shapes |= {f'model.layers.{number}.{name}': x for name, x in layer.items()}
  _write_weights(folder, {f'{name}.weight': shape for name, shape in shapes.items()})
  return folder


def write_encoder(folder: str | pathlib.Path) -> pathlib.Path:
  """Writes a BERT of about 10,000 parameters, for `embed_items --encoder`.

  Args:
    folder: path of a new folder.
  """
  folder = pathlib.Path(folder)
  size = _begin_folder(folder, _ENCODER)
  shapes = {
    'embeddings.word_embeddings.weight': (size, _WIDTH),
    'embeddings.position_embeddings.weight': (64, _WIDTH),
    'embeddings.token_type_embeddings.weight': (2, _WIDTH),
    **_norm('embeddings.LayerNorm'),
  }
  for number in range(_LAYERS):
    layer = f'encoder.layer.{number}'
    for name in ('query', 'key', 'value'):
      shapes |= _dense(f'{layer}.attention.self.{name}', _WIDTH, _WIDTH)
    shapes |= _dense(f'{layer}.attention.output.dense', _WIDTH, _WIDTH)
    shapes |= _norm(f'{layer}.attention.output.LayerNorm')
    shapes |= _dense(f'{layer}.intermediate.dense', _HIDDEN, _WIDTH)
    shapes |= _dense(f'{layer}.output.dense', _WIDTH, _HIDDEN)
    shapes |= _norm(f'{layer}.output.LayerNorm')
  _write_weights(folder, shapes)
  return folder


def _begin_folder(
  folder: pathlib.Path, config: Mapping[str, Any], signs: Sequence[str] = ()
) -> int:
  """Makes a folder with tokenizer and configuration; returns the number of tokens."""
  folder.mkdir(parents=True)
  tokenizer = _byte_level()
  tokenizer.add_special_tokens(list(signs))
  tokenizer.save(str(folder / 'tokenizer.json'))
  size = tokenizer.get_vocab_size()
  _write_json(folder / 'config.json', {**config, 'vocab_size': size})
  return size


def _byte_level() -> tokenizers.Tokenizer:
  """Trains a tokenizer that has a token for every byte, so every text has tokens."""
  made = tokenizers.Tokenizer(tokenizers.models.BPE())
  made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  made.decoder = tokenizers.decoders.ByteLevel()
  alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
  trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet)
  made.train_from_iterator(['The user likes Drama and War!'] * 9, trainer)
  return made


def _dense(name, outputs, inputs):
  return {f'{name}.weight': (outputs, inputs), f'{name}.bias': (outputs,)}


def _norm(name):
  return {f'{name}.weight': (_WIDTH,), f'{name}.bias': (_WIDTH,)}


def _write_weights(folder: pathlib.Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
  """Writes random matrices, and vectors near 1."""
  rng = np.random.default_rng(0)
  draw = lambda shape: rng.normal(0, 0.3, shape) + (len(shape) == 1)
  tensors = {name: draw(shape).astype(np.float32) for name, shape in shapes.items()}
  save_file(tensors, folder / 'model.safetensors')


def _write_json(file: pathlib.Path, content) -> None:
  file.write_text(json.dumps(content, indent=2) + '\n')
