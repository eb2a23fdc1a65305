"""Vocabularies of the decoders' own tokenizers, for SeqIO.

Which one the tasks use is set by gin: `task_vocabulary.decoder`, next to the decoder of
the model.
"""

import functools
import os

import gin
import numpy as np
import seqio
import tensorflow as tf

from persoma_tf.tokenizers.gguf_tokenizer import GgufTokenizer, read_tokenizer


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
  def _tokenizer(self) -> GgufTokenizer:
    from persoma_tf.decoders import gguf_file  # JAX; listing tasks stays quick

    return read_tokenizer(gguf_file(self._decoder))

  @property
  def eos_id(self) -> int:
    """Ends a target."""
    return self._tokenizer.eos_id

  @property
  def unk_id(self) -> int:
    """Never made by the encoder: every byte has a token."""
    return self._tokenizer.unk_id

  @property
  def _base_vocab_size(self) -> int:
    return self._tokenizer.size

  def _encode(self, s: str) -> list[int]:
    return self._tokenizer.encode(s)

  def _decode(self, ids: list[int]) -> str:
    # SeqIO cuts behind the end of the sequence, which is no text itself.
    return self._tokenizer.decode([x for x in ids if x != self.eos_id])

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
