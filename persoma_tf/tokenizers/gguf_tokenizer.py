"""Reads the tokenizer of a GGUF file: byte-level BPE or SentencePiece BPE."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from persoma_tf import model_files
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
    ('llama-bpe', 'llama3', 'llama-v3'), _Split(_WORDS % '{1,3}', ignores_merges=True)
  ),
  **dict.fromkeys(('qwen2', 'deepseek-r1-qwen'), _Split(_WORDS % '', normalizes=True)),
  'tekken': _Split(_TEKKEN, ignores_merges=True),
}
# Meta(key) returns the value of a key under `tokenizer.ggml`.
Meta = Callable[[str], Any]


def read_tokenizer(path: str) -> PlainTokenizer:
  """Reads the tokenizer of a GGUF file.

  Args:
    path: path of a GGUF file.

  Raises:
    ValueError: a field is missing, or this kind of tokenizer is not supported.
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

  kind = meta('model')
  if kind == 'llama':
    return _sentence_piece(meta)
  if kind == 'gpt2':  # the file has only the name of the pre-tokenizer, not its rules
    if meta('pre') in _SPLITS:
      return _byte_level(meta, _SPLITS[meta('pre')])
    kind = f'gpt2 {meta("pre")}'
  known = sorted(['llama', *(f'gpt2 {name}' for name in _SPLITS)])
  raise ValueError(
    f'{path}: tokenizer.ggml.model and .pre are {kind!r}; expected one of {known}'
  )


def _byte_level(meta: Meta, split: _Split) -> PlainTokenizer:
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
  # Control tokens are not added to it: no text becomes one, since no merge makes one.
  return PlainTokenizer(
    lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
    tokenizer.get_vocab_size(),
    meta('eos_token_id'),
    meta('unknown_token_id'),
  )


def _sentence_piece(meta: Meta) -> PlainTokenizer:
  """Makes a SentencePiece BPE model from the pieces, scores and types in the file."""
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
  return of_pieces(model)._replace(eos_id=end, unk_id=unknown)
