"""Vocabularies of the decoders' own tokenizers, for SeqIO.

Which one the tasks use is set by gin: `task_vocabulary.decoder`, next to the decoder of
the model.
"""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import gin
import numpy as np
import seqio
import tensorflow as tf
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

# GGUF's token types are SentencePiece's.
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
_SPACE = '\N{LOWER ONE EIGHTH BLOCK}'  # SentencePiece's


class _Tokenizer(NamedTuple):
  """What a GGUF file's tokenizer does."""

  encode: Callable[[str], list[int]]
  decode: Callable[[list[int]], str]
  size: int


def _byte_level(meta: Callable[[str], Any]) -> _Tokenizer:
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
  return _Tokenizer(
    lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
    tokenizer.get_vocab_size(),
  )


def _sentence_piece(meta: Callable[[str], Any]) -> _Tokenizer:
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
  return _Tokenizer(processor.encode, processor.decode, processor.vocab_size())


class GgufVocabulary(seqio.Vocabulary):
  """The tokenizer inside a GGUF file: byte-level BPE or SentencePiece BPE.

  Ids are those of the file; no start token is added. SeqIO pads with id 0, which is
  `<|endoftext|>` in SmolLM2 and `<pad>` in Gemma: no text encodes to it, so that
  padding can be told by id and the file's own pad id, which may equal `eos_id`, need
  not be used.

  The file is read at first use, so that registering a task costs nothing.
  """

  def __init__(self, decoder: str):
    """Makes the vocabulary.

    Args:
      decoder: name of a decoder that comes as GGUF (`persoma_tf.decoders`), or path of
        a GGUF file.
    """
    super().__init__(extra_ids=0)
    self._decoder = decoder

  @functools.cached_property
  def _file(self) -> tuple[_Tokenizer, int, int]:
    """(tokenizer, end-of-sequence id, unknown id)."""
    import gguf  # a heavy import; here, so that listing tasks stays quick

    from persoma_tf.decoders import gguf_file

    path = gguf_file(self._decoder)
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
    return kinds[kind](meta), meta('eos_token_id'), meta('unknown_token_id')

  @property
  def eos_id(self) -> int:
    """Ends a target."""
    return self._file[1]

  @property
  def unk_id(self) -> int:
    """Never made by the encoder: every byte has a token."""
    return self._file[2]

  @property
  def _base_vocab_size(self) -> int:
    return self._file[0].size

  def _encode(self, s: str) -> list[int]:
    return self._file[0].encode(s)

  def _decode(self, ids: list[int]) -> str:
    # SeqIO cuts behind the end of the sequence, which is no text itself.
    return self._file[0].decode([x for x in ids if x != self.eos_id])

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
    # Called eagerly, TensorFlow wraps the text in an array.
    encode = lambda text: np.array(
      self._encode(np.asarray(text).item().decode()), np.int32
    )
    if s.shape.rank == 0:
      # numpy_function, since py_function costs ten times the encoding.
      return tf.ensure_shape(tf.numpy_function(encode, [s], tf.int32), [None])
    rows = tf.RaggedTensorSpec([None], tf.int32, ragged_rank=0)
    return tf.map_fn(self._encode_tf, s, fn_output_signature=rows)

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    decode = lambda row: self.decode(row.tolist()).encode()
    if ids.shape.rank == 1:
      return tf.ensure_shape(tf.numpy_function(decode, [ids], tf.string), [])
    return tf.map_fn(self._decode_tf, ids, fn_output_signature=tf.string)

  def __eq__(self, other) -> bool:
    return isinstance(other, GgufVocabulary) and other._decoder == self._decoder

  def __hash__(self) -> int:
    return hash(self._decoder)


@gin.configurable
def task_vocabulary(decoder: str = 'smollm2-135m-instruct') -> str:
  """Which vocabulary the tasks have.

  Args:
    decoder: name of a decoder, or path of a GGUF file ('.gguf') or of a SentencePiece
      model ('.model'); the one that `build.decoder` was trained with.
  """
  return decoder


@functools.cache
def load_vocabulary(decoder: str) -> seqio.Vocabulary:
  """The vocabulary that `task_vocabulary` names, one a process.

  Raises:
    ValueError: it names a folder.
  """
  if os.path.isdir(decoder):
    raise ValueError(
      f'task_vocabulary.decoder={decoder!r} is a folder; expected the name of a '
      'decoder, a GGUF file or a SentencePiece model, such as tokenizer.model in it'
    )
  if decoder.endswith('.model'):
    return seqio.SentencePieceVocabulary(decoder)
  return GgufVocabulary(decoder)


class TaskVocabulary(seqio.Vocabulary):
  """The vocabulary that gin names whenever it is used, so that tasks follow it."""

  def __init__(self):
    """Reads nothing."""
    super().__init__(extra_ids=0)

  @property
  def eos_id(self) -> int:
    """Ends a target."""
    return load_vocabulary(task_vocabulary()).eos_id

  @property
  def unk_id(self) -> int:
    """Stands for what has no token."""
    return load_vocabulary(task_vocabulary()).unk_id

  @property
  def _base_vocab_size(self) -> int:
    return load_vocabulary(task_vocabulary()).vocab_size

  def _encode(self, s: str) -> list[int]:
    return load_vocabulary(task_vocabulary()).encode(s)

  def _decode(self, ids: list[int]) -> str:
    return load_vocabulary(task_vocabulary()).decode(ids)

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
    return load_vocabulary(task_vocabulary()).encode_tf(s)

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    return load_vocabulary(task_vocabulary()).decode_tf(ids)

  def __eq__(self, other) -> bool:
    return isinstance(other, TaskVocabulary)

  def __hash__(self) -> int:
    return hash(TaskVocabulary)


VOCABULARY = TaskVocabulary()
