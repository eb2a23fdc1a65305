"""Reads the tokenizer of a GGUF file: byte-level BPE or SentencePiece BPE."""

import functools
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from sentencepiece import sentencepiece_model_pb2
from tokenizers import (
  AddedToken,
  Regex,
  Tokenizer,
  decoders,
  models,
  normalizers,
  pre_tokenizers,
  processors,
)

from persoma_tf import model_files
from persoma_tf.tokenizers import chat_template
from persoma_tf.tokenizers.chat_template import ChatTemplate
from persoma_tf.tokenizers.plain_text import (
  PIECE,
  SPACE,
  PlainTokenizer,
  of_pieces,
)

# What a missing field means, by `tokenizer.ggml.model`.
_DEFAULTS = {
  'llama': {'eos_token_id': 2, 'unknown_token_id': 0, 'add_space_prefix': True},
  'gpt2': {'unknown_token_id': None},
}
_WORDS = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
  r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)
_TEKKEN = (
  r'[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+'
  r'|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*'
  r'|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)


class _Split(NamedTuple):
  """Describes how a byte-level BPE splits a text before it merges.

  Attributes:
    pattern: regular expression of a part; '' for GPT-2's rule with single digits.
    ignores_merges: whether a part that is a token stays whole.
    normalizes: whether the text is brought to Unicode's form NFC.
  """

  pattern: str = ''
  ignores_merges: bool = False
  normalizes: bool = False


# `tokenizer.ggml.pre` -> its rule, as the tokenizer.json of these models has it.
_SPLITS = {
  'smollm': _Split(),
  **dict.fromkeys(
    ('llama-bpe', 'llama3', 'llama-v3', 'smaug-bpe'),
    _Split(_WORDS % '{1,3}', ignores_merges=True),
  ),
  **dict.fromkeys(('qwen2', 'deepseek-r1-qwen'), _Split(_WORDS % '', normalizes=True)),
  'tekken': _Split(_TEKKEN, ignores_merges=True),
}
# Meta(key) returns the value of a key under `tokenizer.ggml`.
Meta = Callable[[str], Any]


def write_tokenizer(path: str, folder: str | os.PathLike, start: int | None) -> None:
  """Writes the tokenizer of a GGUF file as the files of a Hugging Face folder.

  Args:
    path: path of the GGUF file.
    folder: existing folder; byte-level BPE becomes tokenizer.json, SentencePiece
      tokenizer.model.
    start: id of the token before every text; None for none.

  Raises:
    ValueError: see `read_tokenizer`.
  """
  meta, split, read_chat = _opened(path)
  chat = read_chat()
  tokens, folder = meta('tokens'), pathlib.Path(folder)
  settings = {
    'add_bos_token': start is not None,
    'eos_token': tokens[meta('eos_token_id')],
    **({} if start is None else {'bos_token': tokens[start]}),
    **({'chat_template': chat.source, **chat.signs} if chat else {}),
  }
  if split is None:
    (folder / 'tokenizer.model').write_bytes(_pieces(meta).SerializeToString())
    settings |= {'tokenizer_class': 'LlamaTokenizer', 'legacy': False}
    settings['add_prefix_space'] = bool(meta('add_space_prefix'))
  else:
    tokenizer = _with_signs(_bpe(meta, split), meta)
    if start is not None:
      tokenizer.post_processor = processors.TemplateProcessing(
        single=f'{tokens[start]} $A', special_tokens=[(tokens[start], start)]
      )
    tokenizer.save(str(folder / 'tokenizer.json'))
    settings['tokenizer_class'] = 'PreTrainedTokenizerFast'
  text = json.dumps(settings, indent=2) + '\n'
  (folder / 'tokenizer_config.json').write_text(text)


def read_tokenizer(path: str) -> PlainTokenizer:
  """Reads the tokenizer of a GGUF file.

  Args:
    path: path of a GGUF file.

  Raises:
    ValueError: a field is missing, or this kind of tokenizer is not supported.
  """
  meta, split, read_chat = _opened(path)
  if split is None:
    return of_pieces(_pieces(meta))._replace(
      eos_id=meta('eos_token_id'), unk_id=meta('unknown_token_id'), read_chat=read_chat
    )
  tokenizer = _bpe(meta, split)
  for_signs = functools.cache(lambda: _with_signs(_bpe(meta, split), meta))
  # Control tokens are not added to it: no text becomes one, since no merge makes one.
  return PlainTokenizer(
    lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    lambda text: for_signs().encode(text, add_special_tokens=False).ids,
    lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
    tokenizer.get_vocab_size(),
    meta('eos_token_id'),
    meta('unknown_token_id'),
    read_chat=read_chat,
  )


def _opened(
  path: str,
) -> tuple[Meta, _Split | None, Callable[[], ChatTemplate | None]]:
  """Returns the fields of a tokenizer, its rule, and what reads the chat template.

  The rule is None for SentencePiece.

  Raises:
    ValueError: this kind of tokenizer is not supported.
  """
  fields = model_files.open_gguf(path).fields

  def meta(key):
    field = fields.get(f'tokenizer.ggml.{key}')
    if field is not None:
      return field.contents()
    defaults = {} if key == 'model' else _DEFAULTS[meta('model')]
    if key not in defaults:
      raise ValueError(f'{path}: no field tokenizer.ggml.{key}')
    return defaults[key]

  read = lambda key: fields[key].contents() if key in fields else None
  chat, kind = functools.partial(chat_template.chat_of_gguf, read, path), meta('model')
  if kind == 'llama':
    return meta, None, chat
  if kind == 'gpt2':  # the file has only the name of the pre-tokenizer, not its rules
    if meta('pre') in _SPLITS:
      return meta, _SPLITS[meta('pre')], chat
    kind = f'gpt2 {meta("pre")}'
  known = sorted(['llama', *(f'gpt2 {name}' for name in _SPLITS)])
  raise ValueError(
    f'{path}: tokenizer.ggml.model and .pre are {kind!r}; expected one of {known}'
  )


def _bpe(meta: Meta, split: _Split) -> Tokenizer:
  """Makes a byte-level BPE as in GPT-2, with a model's own rule for splitting texts."""
  merges = [tuple(merge.split(' ')) for merge in meta('merges')]
  ids = {token: index for index, token in enumerate(meta('tokens'))}
  model = models.BPE(vocab=ids, merges=merges, ignore_merges=split.ignores_merges)
  tokenizer = Tokenizer(model)
  if split.normalizes:
    tokenizer.normalizer = normalizers.NFC()
  first = (
    pre_tokenizers.Split(Regex(split.pattern), 'isolated')
    if split.pattern
    else pre_tokenizers.Digits(individual_digits=True)
  )
  bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split.pattern)
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, bytes_])
  tokenizer.decoder = decoders.ByteLevel()
  return tokenizer


def _with_signs(tokenizer: Tokenizer, meta: Meta) -> Tokenizer:
  """Adds the control tokens and the added tokens of a file, which have their ids."""
  kinds = list(zip(meta('tokens'), meta('token_type'), strict=True))
  tokens_of = lambda wanted: [token for token, kind in kinds if kind == wanted]
  tokenizer.add_special_tokens(tokens_of(PIECE.CONTROL))
  added = [
    AddedToken(token, special=False, normalized=False)
    for token in tokens_of(PIECE.USER_DEFINED)
  ]
  tokenizer.add_tokens(added)
  return tokenizer


def _pieces(meta: Meta) -> sentencepiece_model_pb2.ModelProto:
  """Makes a SentencePiece BPE model of the pieces, scores and types in the file."""
  model = sentencepiece_model_pb2.ModelProto()
  model.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.BPE
  model.trainer_spec.byte_fallback = True
  model.normalizer_spec.name = 'identity'
  model.normalizer_spec.remove_extra_whitespaces = False
  model.normalizer_spec.add_dummy_prefix = meta('add_space_prefix')
  end, unknown = meta('eos_token_id'), meta('unknown_token_id')
  pieces = zip(meta('tokens'), meta('scores'), meta('token_type'), strict=True)
  for index, (piece, score, kind) in enumerate(pieces):
    if kind == PIECE.USER_DEFINED:  # these pieces are stored with plain spaces
      piece = piece.replace(' ', SPACE)
    # Gemma's file gives the unknown token the type of a control token.
    kind = {unknown: PIECE.UNKNOWN, end: PIECE.CONTROL}.get(index, kind)
    model.pieces.add(piece=piece, score=score, type=kind)
  return model
