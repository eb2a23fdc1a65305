"""Frozen language models: Flax modules that read embeddings instead of tokens.

A decoder module has the methods

    embed(tokens [B, S] int32) -> [B, S, D]
    hidden(embeddings [B, S, D], positions [B, S], mask [B, S] bool) -> [B, S, D]
    logits(hidden [..., D]) -> [..., V]
    prefill(embeddings [B, S, D], positions [B, S], size) -> (hidden, cache)
    step(embeddings [B, 1, D], positions [B, 1], cache, index) -> (hidden, cache)
"""

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from persoma_tf import assets


class Decoder(NamedTuple):
  """A language model that is ready to run.

  Attributes:
    name: of the model.
    module: with the methods above.
    params: its parameters, float32 numpy arrays.
    width: D.
  """

  name: str
  module: nn.Module
  params: Mapping[str, Any]
  width: int


# name -> the GGUF file in the asset of the same name
_GGUF = {'smollm2-135m-instruct': 'SmolLM2-135M-Instruct.Q4_1.gguf'}


def gguf_file(name: str) -> str:
  """Path of a decoder's GGUF file; downloads the asset if it is not there.

  Args:
    name: of a decoder, or the path of a GGUF file of one's own.

  Raises:
    ValueError: no decoder has this name; the nearest one is given.
  """
  if name.endswith('.gguf'):
    return name
  if name not in _GGUF:
    near = difflib.get_close_matches(name, _GGUF, n=1, cutoff=0.0)
    raise ValueError(f'no decoder {name!r}; did you mean {near[0]!r}?')
  return str(assets.path(name) / _GGUF[name])


def load(name: str) -> Decoder:
  """Loads a decoder.

  Args:
    name: of a decoder, or the path of a GGUF file of llama architecture.

  Raises:
    ValueError: no decoder has this name, or the file is of another kind.
  """
  from persoma_tf.decoders import gguf_llama  # reading weights needs more packages

  config, params = gguf_llama.load(gguf_file(name))
  return Decoder(name, gguf_llama.Llama(config), params, config.d_model)
