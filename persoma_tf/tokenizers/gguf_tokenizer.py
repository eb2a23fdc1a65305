"""Reads the tokenizer of a GGUF file: byte-level BPE or SentencePiece BPE."""

from collections.abc import Callable
from typing import Any

from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

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
  if kind == 'gpt2':  # the file has only the name of the pre-tokenizer, not its rules
    kind = f'gpt2 {meta("pre")}'
  builders = {'gpt2 smollm': _byte_level, 'llama': _sentence_piece}
  if kind not in builders:
    raise ValueError(
      f'{path}: tokenizer.ggml.model and .pre are {kind!r}; expected one of '
      f'{sorted(builders)}'
    )
  return builders[kind](meta, path)


def _byte_level(meta: Meta, path: str) -> PlainTokenizer:
  """Makes a byte-level BPE as in GPT-2 in which, as in SmolLM, digits stand alone."""
  merges = [tuple(merge.split(' ')) for merge in meta('merges')]
  ids = {token: index for index, token in enumerate(meta('tokens'))}
  tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Digits(individual_digits=True),
      pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
  )
  tokenizer.decoder = decoders.ByteLevel()
  # Control tokens are not added to it: no text becomes one, since no merge makes one.
  return PlainTokenizer(
    lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
    tokenizer.get_vocab_size(),
    meta('eos_token_id'),
    meta('unknown_token_id'),
  )


def _sentence_piece(meta: Meta, path: str) -> PlainTokenizer:
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
