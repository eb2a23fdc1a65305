"""Frozen language models: Flax modules that read embeddings instead of tokens.

The decoder protocol: a decoder module, decoder-only or encoder-decoder, has the methods

    embed(tokens [B, S] int32) -> [B, S, D]
    logits(hidden [..., D]) -> [..., V]
    logits_of(hidden [B, D], tokens [B, M] or [M] int32) -> [B, M], logits of these
    target_hidden(prefix, mask, inputs [B, L] int32) -> [B, L, D]
    prefill(prefix, mask, size) -> (hidden [B, D], cache)
    step(tokens [B] int32, cache) -> (hidden [B, D], cache)
    branch(tokens [B, C, M] int32, cache) -> hidden [B, C, M, D]
    read_ahead(tokens [B, M] int32, cache) -> (hidden [B, M, D], cache)

The prefix [B, P, D] holds the embeddings before the answer: the soft tokens and the
embedded task prompt, with padding where `mask` [B, P] bool is False. No row is all
padding. `inputs` are the targets shifted right after a start token of id 0;
`target_hidden` returns the states whose logits predict the targets. `prefill` returns
the state that predicts the first token of an answer of at most `size` tokens, and
`step` the state that predicts the next token. `branch` reads C ways to go on with what
the cache holds, of which none sees another, and leaves the cache as it is; its states
predict the token after each token. `read_ahead`, of decoder-only models, reads tokens
that may be taken back, see `decoder_only.keep_read`.
"""

import difflib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from persoma_tf import assets
from persoma_tf.parameters import quantization


class LoadedDecoder(NamedTuple):
  """Holds a language model that is ready to run.

  Attributes:
    name: name or path that the model was loaded by.
    module: Flax module of the decoder protocol (`persoma_tf.decoders`).
    params: parameters of the module, numpy arrays: float32, but matrices that a file
      stores in two bytes keep their type.
    width: D, width of the embeddings.
    vocab_size: V.
  """

  name: str
  module: nn.Module
  params: Mapping[str, Any]
  width: int
  vocab_size: int

  @property
  def start_token(self) -> int | None:
    """Returns the id of the token before every prefix; None if there is none."""
    return getattr(self.module, 'start_token', None)

  @property
  def wide_params(self) -> Mapping[str, Any]:
    """Returns the parameters as float32: as they are, the type of a matrix decides."""
    return quantization.converted(self.params, 'float32')

  def embed(self, tokens: np.ndarray) -> np.ndarray:
    """Returns the embeddings [..., S, D] of token ids [..., S]."""
    variables = {'params': self.params}
    return np.asarray(self.module.apply(variables, tokens, method='embed'))


# Name of a decoder and of its asset -> GGUF file in the asset.
_GGUF = {
  'smollm2-135m-instruct': 'SmolLM2-135M-Instruct.Q4_1.gguf',
  'gemma3-270m': 'gemma-3-270m-q4_k_m.gguf',
}


def gguf_file(name: str) -> str:
  """Returns the path of a decoder's GGUF file; downloads the asset if necessary.

  Args:
    name: name of a decoder, or path of a GGUF file.

  Raises:
    ValueError: no decoder has this name; the message names the nearest one.
  """
  if name.endswith('.gguf'):
    return name
  if os.sep in name:
    raise ValueError(
      f'decoder {name!r}: not a folder and not a .gguf file; nothing is loaded from a '
      'hub: download the folder and give its path'
    )
  if name not in _GGUF:
    near = difflib.get_close_matches(name, _GGUF, n=1, cutoff=0.0)
    raise ValueError(f'no decoder {name!r}; did you mean {near[0]!r}?')
  return str(assets.path(name) / _GGUF[name])


def check_folder(folder: str) -> str:
  """Returns the `model_type` of a Hugging Face folder whose model is supported.

  Raises:
    ValueError: the model is of another type, or its weights are quantized.
  """
  from persoma_tf.decoders.families import BY_MODEL_TYPE
  from persoma_tf.decoders.hugging_face_folder import HuggingFaceFolder

  opened = HuggingFaceFolder(folder)
  opened.expect({'model_type': (*BY_MODEL_TYPE, 't5')})
  opened.expect_unquantized()
  return opened.config['model_type']


def load_decoder(name: str, remat: bool = False) -> LoadedDecoder:
  """Loads a decoder.

  Args:
    name: name of a decoder, or path of a GGUF file or of a Hugging Face folder (the
      families of `persoma_tf.decoders.families`, T5 as a folder only), or of a T5X
      checkpoint (T5).
    remat: whether the backward pass recomputes each layer.

  Raises:
    ValueError: no decoder has this name, or the file or model is not supported.
  """
  # Imported here: reading weights needs more packages than the protocol does.
  from persoma_tf.decoders import (
    gguf_files,
    hugging_face,
    hugging_face_t5,
    start_tokens,
    t5x_checkpoint,
  )
  from persoma_tf.decoders.causal_lm import CausalLm
  from persoma_tf.decoders.decoder_only import check_params
  from persoma_tf.decoders.t5 import T5, T5Config

  if not os.path.isdir(name):
    config, params = gguf_files.read_gguf(gguf_file(name))
  elif t5x_checkpoint.is_t5x_checkpoint(name):
    config, params = t5x_checkpoint.read_t5x_checkpoint(name)
  else:
    of_t5 = check_folder(name) == 't5'
    read = (
      hugging_face_t5.read_hugging_face_t5 if of_t5 else hugging_face.read_hugging_face
    )
    config, params = read(name)
  start_tokens.check(config, name)
  module = (T5 if isinstance(config, T5Config) else CausalLm)(config, remat)
  if isinstance(module, CausalLm):  # the readers of T5 check its parameters
    check_params(module, params, name)
  return LoadedDecoder(name, module, params, config.d_model, config.vocab_size)
