"""Reads the tokenizer of a GGUF file: byte-level BPE or SentencePiece BPE."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from persoma_tf import model_files

# GGUF uses SentencePiece's token types.
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
_SPACE = '\N{LOWER ONE EIGHTH BLOCK}'  # SentencePiece's sign for a space


class GgufTokenizer(NamedTuple):
  """Holds the tokenizer of a GGUF file.

  Attributes:
    encode: function from a text to its token ids.
    decode: function from token ids to their text.
    size: number of tokens.
    eos_id: id of the end-of-sequence token.
    unk_id: id of the unknown token.
  """

  encode: Callable[[str], list[int]]
  decode: Callable[[list[int]], str]
  size: int
  eos_id: int
  unk_id: int


def read_tokenizer(path: str) -> GgufTokenizer:
  """Reads the tokenizer of a GGUF file.

  Args:
    path: path of a GGUF file.

  Raises:
    ValueError: a field is missing, or this kind of tokenizer is not supported.
  """
  fields = model_files.open_gguf(path).fields

  def meta(key, default=None):
    field = fields.get(f'tokenizer.ggml.{key}')
    if field is None and default is None:
      raise ValueError(f'{path}: no field tokenizer.ggml.{key}')
    return default if field is None else field.contents()

  model = meta('model')
  # The file has only the name of the pre-tokenizer, not its rules.
  kind = f'{model} {meta("pre")}' if model == 'gpt2' else model
  builders = {'gpt2 smollm': _byte_level, 'llama': _sentence_piece}
  if kind not in builders:
    raise ValueError(
      f'{path}: tokenizer.ggml.model and .pre are {kind!r}; expected one of '
      f'{sorted(builders)}'
    )
  ids = meta('eos_token_id'), meta('unknown_token_id')
  return GgufTokenizer(*builders[kind](meta), *ids)


def _byte_level(meta: Callable[[str], Any]) -> tuple[Callable, Callable, int]:
  """Makes a byte-level BPE as in GPT-2 in which, as in SmolLM, digits stand alone.

  Args:
    meta: function from a key under `tokenizer.ggml` to its value.

  Returns:
    (encode, decode, number of tokens).
  """
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
  types = zip(meta('tokens'), meta('token_type'), strict=True)
  tokenizer.add_special_tokens([token for token, kind in types if kind == _CONTROL])
  return (
    lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
    tokenizer.get_vocab_size(),
  )


def _sentence_piece(meta: Callable[[str], Any]) -> tuple[Callable, Callable, int]:
  """Makes a SentencePiece BPE model from the pieces, scores and types in the file.

  Args:
    meta: function from a key under `tokenizer.ggml` to its value.

  Returns:
    (encode, decode, number of tokens).
  """
  model = sentencepiece_model_pb2.ModelProto()
  model.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.BPE
  model.trainer_spec.byte_fallback = True
  model.normalizer_spec.name = 'identity'
  model.normalizer_spec.remove_extra_whitespaces = False
  model.normalizer_spec.add_dummy_prefix = meta('add_space_prefix', True)
  unknown = meta('unknown_token_id')
  pieces = zip(meta('tokens'), meta('scores'), meta('token_type'), strict=True)
  for index, (piece, score, kind) in enumerate(pieces):
    if kind == _USER_DEFINED:  # these pieces are stored with plain spaces
      piece = piece.replace(' ', _SPACE)
    if index == unknown:  # Gemma's file gives it the type of a control token
      kind = _UNKNOWN
    model.pieces.add(piece=piece, score=score, type=kind)
  processor = SentencePieceProcessor(model_proto=model.SerializeToString())
  return (processor.encode, processor.decode, processor.vocab_size())
