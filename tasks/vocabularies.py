"""Vocabularies of the decoders' own tokenizers, for SeqIO."""

import functools

import numpy as np
import seqio
import tensorflow as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

_CONTROL = 3  # GGUF's token type of special tokens


class GgufVocabulary(seqio.Vocabulary):
  """The byte-level BPE tokenizer inside a GGUF file.

  Ids are those of the file. SeqIO pads with id 0, which in SmolLM2 is
  `<|endoftext|>`: no text encodes to it, so that padding can be told by id and the
  file's own pad id, which equals `eos_id`, need not be used.

  The file is read at first use, so that registering a task costs nothing.
  """

  def __init__(self, decoder: str):
    """Makes the vocabulary.

    Args:
      decoder: name of a decoder that comes as GGUF (`persoma_tf.decoders`).
    """
    super().__init__(extra_ids=0)
    self._decoder = decoder

  @functools.cached_property
  def _file(self) -> tuple[Tokenizer, int, int]:
    """(tokenizer, end-of-sequence id, unknown id)."""
    import gguf  # a heavy import; here, so that listing tasks stays quick

    from persoma_tf.decoders import gguf_file

    reader = gguf.GGUFReader(gguf_file(self._decoder))
    meta = lambda key: reader.fields[f'tokenizer.ggml.{key}'].contents()
    tokens, kinds = meta('tokens'), meta('token_type')
    merges = [tuple(merge.split(' ')) for merge in meta('merges')]
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
      [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
      ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
      [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    )
    return tokenizer, meta('eos_token_id'), meta('unknown_token_id')

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
    return self._file[0].get_vocab_size()

  def _encode(self, s: str) -> list[int]:
    return self._file[0].encode(s, add_special_tokens=False).ids

  def _decode(self, ids: list[int]) -> str:
    return self._file[0].decode(ids, skip_special_tokens=False)

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


VOCABULARY = GgufVocabulary('smollm2-135m-instruct')  # of the tasks
