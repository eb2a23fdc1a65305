"""Finds the token that a decoder-only model expects before every text, if any.

Llama and Gemma were trained with one, SmolLM2 was not. GGUF files and the tokenizer's
files of Hugging Face folders say so.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
from tokenizers import Tokenizer

from persoma_tf import model_files
from persoma_tf.decoders.hugging_face_folder import HuggingFaceFolder

# Classes of transformers that add the token unless add_bos_token is false.
_ADDING = ('LlamaTokenizer', 'LlamaTokenizerFast', 'GemmaTokenizer')
_ADDING += ('GemmaTokenizerFast',)
# Rules of byte-level BPE in GGUF with which llama.cpp adds the token.
_STARTING = ('llama-bpe', 'llama3', 'llama-v3', 'tekken')


def of_gguf(meta: Callable, always: bool = False) -> int | None:
  """Returns the id of the start token of a GGUF file; None if it has none.

  Args:
    meta: function (key, default) -> value; raises ValueError for a missing key if the
      default is None.
    always: whether the architecture has the token if the file does not say it. Files
      with the tokenizers of Llama and Mistral have it, by the format's default.
  """
  pieces = meta('tokenizer.ggml.model', '') == 'llama'
  starts = pieces or meta('tokenizer.ggml.pre', '') in _STARTING
  if not meta('tokenizer.ggml.add_bos_token', starts or always):
    return None
  return meta('tokenizer.ggml.bos_token_id', 1 if pieces and not always else None)


def of_folder(folder: HuggingFaceFolder, always: bool = False) -> int | None:
  """Returns the id of the start token of a Hugging Face folder; None if it has none.

  Args:
    folder: folder of the model. Without a tokenizer in it, nothing says that there is a
      start token.
    always: whether the architecture has the token if the folder does not say it.

  Raises:
    ValueError: a file is damaged, or `config.json` lacks the id.
  """
  settings = _settings(folder.path / 'tokenizer_config.json')
  adds, file = settings.get('add_bos_token'), folder.path / 'tokenizer.json'
  if adds is None and settings.get('tokenizer_class') in _ADDING:
    adds = True
  if adds is None and file.exists():
    return _first_token(file)
  if adds is None:
    adds = always or (folder.path / 'tokenizer.model').exists()
  if not adds:
    return None
  if folder.config.get('bos_token_id') is None:
    raise ValueError(
      f'{folder.file}: no field bos_token_id; expected the id of the start token that '
      'the tokenizer of this folder puts before every text'
    )
  return folder.config['bos_token_id']


def check(config: Any, source: str) -> None:
  """Checks that a model has its start token.

  Args:
    config: configuration of a decoder.
    source: name of the decoder, for the error message.

  Raises:
    ValueError: the id is outside the vocabulary.
  """
  token = getattr(config, 'start_token', None)
  if token is not None and token not in range(config.vocab_size):
    raise ValueError(
      f'{source}: the start token has id {token!r}; expected an id below '
      f'{config.vocab_size}, the number of tokens'
    )


def as_trained(module: nn.Module, manifest: Mapping[str, Any]) -> nn.Module:
  """Returns a decoder with the start token that an adapter was trained with.

  Args:
    module: decoder as its files describe it.
    manifest: content of the adapter's `manifest.json`.
  """
  config = module.config
  if not hasattr(config, 'start_token'):  # T5
    return module
  # Before the manifest had the field, Llama was given none.
  before = None if config.family == 'llama' else config.start_token
  token = manifest.get('start_token', before)
  return module.clone(config=dataclasses.replace(config, start_token=token))


def _settings(file: pathlib.Path) -> Mapping[str, Any]:
  return model_files.read_object(file) if file.exists() else {}


def _first_token(file: pathlib.Path) -> int | None:
  """Returns the token that a `tokenizer.json` puts before a text."""
  with model_files.reading(file, 'tokenizer'):
    tokenizer = Tokenizer.from_file(str(file))
  made = tokenizer.encode('a')
  added = zip(made.ids, made.special_tokens_mask, strict=True)
  first = [token for token, _ in itertools.takewhile(lambda x: x[1], added)]
  if len(first) > 1:
    raise ValueError(
      f'{file}: puts the tokens {first} before a text; expected at most one start token'
    )
  return first[0] if first else None
