"""Tokenizers for the texts of users and data, which never become control tokens.

A vocabulary has tokens that are signs for programs, such as '<|im_end|>', '</s>',
'<think>' or '<b>'. A title that contains such a sign is encoded to the tokens of its
characters, like any other text.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from persoma_tf.tokenizers.chat_template import ChatTemplate

SPACE = '\N{LOWER ONE EIGHTH BLOCK}'  # SentencePiece's sign for a space
# Its token types are also those of GGUF.
PIECE = sentencepiece_model_pb2.ModelProto.SentencePiece


class PlainTokenizer(NamedTuple):
  """Holds a tokenizer for plain texts.

  Attributes:
    encode: function from a text to its token ids; none of them is a control token.
    encode_signs: the same for the texts of programs, such as chat templates, in which
      the sign of a control token is that token.
    decode: function from token ids to their text.
    size: number of tokens.
    eos_id: id of the end-of-sequence token.
    unk_id: id of the unknown token; None if the vocabulary has none.
    other_ends: ids of further tokens that end a text when the decoder writes them.
    read_chat: function that reads the chat template of the model; None if it has none.
  """

  encode: Callable[[str], list[int]]
  encode_signs: Callable[[str], list[int]]
  decode: Callable[[list[int]], str]
  size: int
  eos_id: int
  unk_id: int | None
  other_ends: tuple[int, ...] = ()
  read_chat: Callable[[], ChatTemplate | None] = lambda: None


def read_sentence_piece(model: bytes, source: str) -> PlainTokenizer:
  """Reads the SentencePiece model of a decoder.

  Args:
    model: serialized model.
    source: name of the file, for error messages.

  Raises:
    ValueError: it is no such model, or has no end-of-sequence piece.
  """
  try:
    SentencePieceProcessor().LoadFromSerializedProto(model)
  except RuntimeError as error:
    raise ValueError(
      f'{source}: begins with {model[:20]!r}, which is no SentencePiece model; '
      'expected the file spiece.model or tokenizer.model of the decoder'
    ) from error
  tokenizer = of_pieces(sentencepiece_model_pb2.ModelProto.FromString(model))
  if tokenizer.eos_id < 0:
    raise ValueError(
      f'{source}: no end-of-sequence piece; expected the SentencePiece model of a '
      'decoder, which has one, such as </s>'
    )
  return tokenizer


def of_pieces(model: sentencepiece_model_pb2.ModelProto) -> PlainTokenizer:
  """Makes a tokenizer of SentencePiece's pieces.

  SentencePiece encodes no text to control pieces, but to user-defined pieces. Those
  that are signs for programs are used for decoding only. User-defined pieces of one
  character or of blanks are text: Gemma writes line ends with them.

  Args:
    model: model, which is changed.
  """
  reader = SentencePieceProcessor(model_proto=model.SerializeToString())
  for piece in model.pieces:
    if piece.type == PIECE.USER_DEFINED and is_sign(piece.piece):
      piece.type = PIECE.CONTROL
  writer = SentencePieceProcessor(model_proto=model.SerializeToString())
  signs = {
    piece.piece: number
    for number, piece in enumerate(model.pieces)
    if piece.type == PIECE.CONTROL
  }
  return PlainTokenizer(
    writer.encode,
    functools.partial(_encode_signs, writer.encode, signs),
    reader.decode,
    reader.vocab_size(),
    reader.eos_id(),
    reader.unk_id(),
  )


def _encode_signs(encode: 'Encode', signs: Mapping[str, int], text: str) -> list[int]:
  """Encodes a text in which the signs of control tokens are these tokens.

  SentencePiece's space before a text stands only before the first part, as in
  transformers with `legacy: false`.
  """
  longest_first = sorted(signs, key=len, reverse=True)
  parts = re.split(f'({"|".join(map(re.escape, longest_first))})', text)
  ids = list(encode(parts[0])) if parts[0] else []
  for part in parts[1:]:
    if part in signs:
      ids.append(signs[part])
    elif part:
      ids += continued(encode, ['\n'], part)
  return ids


def is_sign(piece: str) -> bool:
  """Tells whether a token is a sign for programs: more than one letter or blanks."""
  return len(piece) > 1 and bool(piece.replace(SPACE, ' ').strip())


Encode = Callable[[str], Sequence[int]]


def encode_after(encode: Encode, before: str, text: str) -> list[int] | None:
  """Returns the ids of a text that follows another text.

  They are the ids that the second text has in the whole of both. A text alone can have
  others: many SentencePiece models put a space before whatever they encode.

  Args:
    encode: function from a text to its token ids.
    before: text that precedes.
    text: text that follows.

  Returns:
    Token ids; None if a token of the whole has characters of both texts.
  """
  head, whole = list(encode(before)), list(encode(before + text))
  return whole[len(head) :] if whole[: len(head)] == head else None


def continued(encode: Encode, befores: Iterable[str], text: str) -> list[int]:
  """Returns the ids of a text that follows one of several texts.

  Args:
    encode: function from a text to its token ids.
    befores: texts that can precede; the first with separate tokens decides.
    text: text that follows. If it has no separate tokens, it is encoded alone.
  """
  ids = (encode_after(encode, before, text) for before in befores)
  return next((found for found in ids if found is not None), list(encode(text)))
