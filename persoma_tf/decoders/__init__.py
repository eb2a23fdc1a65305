"""Frozen language models: Flax modules that read embeddings instead of tokens.

A decoder module, decoder-only or encoder-decoder, has the methods

    embed(tokens [B, S] int32) -> [B, S, D]
    logits(hidden [..., D]) -> [..., V]
    logits_of(hidden [B, D], tokens [B, M] int32) -> [B, M], the logits of these alone
    target_hidden(prefix, mask, inputs [B, L] int32) -> [B, L, D]
    prefill(prefix, mask, size) -> (hidden [B, D], cache)
    step(tokens [B] int32, cache) -> (hidden [B, D], cache)

The prefix [B, P, D] is all that stands before the answer: soft tokens and embedded
task prompt, with padding where `mask` [B, P] bool is False. Every row has something
in it. `inputs` are the targets shifted right behind a start token of id 0;
`target_hidden` gives the states whose logits predict the targets. `prefill` gives the
state that predicts the first token of an answer of at most `size`, `step` the next.
"""

import difflib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from persoma_tf import assets


class LoadedDecoder(NamedTuple):
  """A language model that is ready to run.

  Attributes:
    name: of the model.
    module: with the methods above.
    params: its parameters, float32 numpy arrays.
    width: D.
    vocab_size: V.
  """

  name: str
  module: nn.Module
  params: Mapping[str, Any]
  width: int
  vocab_size: int

  def embed(self, tokens: np.ndarray) -> np.ndarray:
    """Token embeddings [..., S, D] of ids [..., S]."""
    variables = {'params': self.params}
    return np.asarray(self.module.apply(variables, tokens, method='embed'))


# name -> the GGUF file in the asset of the same name
_GGUF = {
  'smollm2-135m-instruct': 'SmolLM2-135M-Instruct.Q4_1.gguf',
  'gemma3-270m': 'gemma-3-270m-q4_k_m.gguf',
}


def gguf_file(name: str) -> str:
  """Path of a decoder's GGUF file; downloads the asset if it is not there.

  Args:
    name: of a decoder, or the path of a GGUF file of one's own.

  Raises:
    ValueError: no decoder has this name; the nearest one is given.
  """
  if name.endswith('.gguf'):
    return name
  if os.sep in name:
    raise ValueError(f'decoder {name!r}: no such folder, nor a .gguf file')
  if name not in _GGUF:
    near = difflib.get_close_matches(name, _GGUF, n=1, cutoff=0.0)
    raise ValueError(f'no decoder {name!r}; did you mean {near[0]!r}?')
  return str(assets.path(name) / _GGUF[name])


def load_decoder(name: str, remat: bool = False) -> LoadedDecoder:
  """Loads a decoder.

  Args:
    name: of a decoder, or the path of a GGUF file of Llama's or Gemma 3's
      architecture, of a Hugging Face folder of one of these or of T5, or of a T5X
      checkpoint of T5.
    remat: whether the backward pass computes each layer anew.

  Raises:
    ValueError: no decoder has this name, or the file is of another kind.
  """
  # Reading weights needs more packages than the protocol does.
  from persoma_tf.decoders import (
    gguf_files,
    hugging_face,
    hugging_face_t5,
    t5x_checkpoint,
  )
  from persoma_tf.decoders.gemma import Gemma, GemmaConfig
  from persoma_tf.decoders.hugging_face_folder import HuggingFaceFolder
  from persoma_tf.decoders.llama import Llama, LlamaConfig
  from persoma_tf.decoders.t5 import T5, T5Config

  if not os.path.isdir(name):
    config, params = gguf_files.read_gguf(gguf_file(name))
  elif t5x_checkpoint.is_t5x_checkpoint(name):
    config, params = t5x_checkpoint.read_t5x_checkpoint(name)
  else:
    folder = HuggingFaceFolder(name)
    readers = dict.fromkeys(hugging_face.FAMILIES, hugging_face.read_hugging_face)
    readers['t5'] = hugging_face_t5.read_hugging_face_t5
    folder.expect({'model_type': tuple(readers)})
    config, params = readers[folder.config['model_type']](name)
  modules = {LlamaConfig: Llama, GemmaConfig: Gemma, T5Config: T5}
  module = modules[type(config)](config, remat)
  return LoadedDecoder(name, module, params, config.d_model, config.vocab_size)
