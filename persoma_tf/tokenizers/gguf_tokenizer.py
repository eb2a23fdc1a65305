"""Reads the tokenizer inside a GGUF file: byte-level BPE or SentencePiece BPE."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

# GGUF's token types are SentencePiece's.
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
_SPACE = '\N{LOWER ONE EIGHTH BLOCK}'  # SentencePiece's


class GgufTokenizer(NamedTuple):
  """Holds the tokenizer of a GGUF file.

  Attributes:
    encode: text to ids.
    decode: ids to text.
    size: number of tokens.
    eos_id: id of the end of a sequence.
    unk_id: id for what has no token.
  """

  encode: Callable[[str], list[int]]
  decode: Callable[[list[int]], str]
  size: int
  eos_id: int
  unk_id: int


def read_tokenizer(path: str) -> GgufTokenizer:
  """Reads the tokenizer of a GGUF file.

  Raises:
    ValueError: a field is missing, or the tokenizer is of a kind that is not known.
  """
  import gguf  # a heavy import; here, so that listing tasks stays quick

  fields = gguf.GGUFReader(path).fields

  def meta(key, default=None):
    field = fields.get(f'tokenizer.ggml.{key}')
    if field is None and default is None:
      raise ValueError(f'{path}: no field tokenizer.ggml.{key} in it')
    return default if field is None else field.contents()

  model = meta('model')
  # How a text is cut before its bytes are merged is not in the file but by name.
  kind = f'{model} {meta("pre")}' if model == 'gpt2' else model
  kinds = {'gpt2 smollm': _byte_level, 'llama': _sentence_piece}
  if kind not in kinds:
    raise ValueError(
      f'{path}: tokenizer.ggml.model and .pre are {kind!r}; expected one of '
      f'{sorted(kinds)}'
    )
  ids = meta('eos_token_id'), meta('unknown_token_id')
  return GgufTokenizer(*kinds[kind](meta), *ids)


def _byte_level(meta: Callable[[str], Any]) -> tuple[Callable, Callable, int]:
  """Byte-level BPE as in GPT-2, with SmolLM's way of setting digits apart."""
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
  kinds = zip(meta('tokens'), meta('token_type'), strict=True)
  tokenizer.add_special_tokens([token for token, kind in kinds if kind == _CONTROL])
  return (
    lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
    tokenizer.get_vocab_size(),
  )


def _sentence_piece(meta: Callable[[str], Any]) -> tuple[Callable, Callable, int]:
  """The SentencePiece BPE model whose pieces, scores and types the file holds."""
  model = sentencepiece_model_pb2.ModelProto()
  model.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.BPE
  model.trainer_spec.byte_fallback = True
  model.normalizer_spec.name = 'identity'
  model.normalizer_spec.remove_extra_whitespaces = False
  model.normalizer_spec.add_dummy_prefix = meta('add_space_prefix', True)
  unknown = meta('unknown_token_id')
  pieces = zip(meta('tokens'), meta('scores'), meta('token_type'), strict=True)
  for index, (piece, score, kind) in enumerate(pieces):
    if kind == _USER_DEFINED:  # the file has them as they stand in texts
      piece = piece.replace(' ', _SPACE)
    if index == unknown:  # Gemma's has the type of a control token
      kind = _UNKNOWN
    model.pieces.add(piece=piece, score=score, type=kind)
  processor = SentencePieceProcessor(model_proto=model.SerializeToString())
  return (processor.encode, processor.decode, processor.vocab_size())
