"""Makes SeqIO vocabularies of the decoders' own tokenizers.

The gin parameter `task_vocabulary.decoder` sets the vocabulary of the tasks; it must
fit the decoder of the model.
"""

import functools
import logging
import os
from collections.abc import Sequence

import gin
import numpy as np
import seqio
import tensorflow as tf

from persoma_tf.tokenizers import chat_template, json_tokenizer
from persoma_tf.tokenizers.gguf_tokenizer import read_tokenizer
from persoma_tf.tokenizers.plain_text import PlainTokenizer, read_sentence_piece
from tasks.questions import Question

logger = logging.getLogger(__name__)
_FILES = (json_tokenizer.FILE, 'tokenizer.model', 'spiece.model')


class DecoderVocabulary(seqio.Vocabulary):
  """Wraps the tokenizer of a decoder: byte-level BPE or SentencePiece.

  Token ids are the ids of the file; no start token is added, and no text encodes to a
  control token. SeqIO pads with id 0, which is a word of some vocabularies: masks tell
  padding (`persoma_tf.training.feature_converter`). The pad id of the file is not used.

  The file is read at first use, so registering a task costs nothing.
  """

  def __init__(self, decoder: str):
    """Makes the vocabulary.

    Args:
      decoder: name of a decoder that is a GGUF file (`persoma_tf.decoders`), or path of
        a GGUF file, of a SentencePiece model ('.model') or of a Hugging Face folder.
    """
    super().__init__(extra_ids=0)
    self._decoder, self._noticed = decoder, False

  @functools.cached_property
  def _tokenizer(self) -> PlainTokenizer:
    from persoma_tf.decoders import gguf_file  # imports JAX; listing tasks stays fast

    path = tokenizer_in(self._decoder)
    folder = os.path.dirname(path)
    if path.endswith(json_tokenizer.FILE):
      found = json_tokenizer.read_json_tokenizer(folder)
    elif path.endswith('.model'):
      with tf.io.gfile.GFile(path, 'rb') as file:
        found = read_sentence_piece(file.read(), path)
    else:
      return read_tokenizer(gguf_file(path))
    if path == self._decoder:  # a SentencePiece model alone
      return found
    read_chat = functools.partial(chat_template.chat_of_folder, folder)
    return found._replace(read_chat=read_chat)

  def notice_unknown(self, text: str, ids: Sequence[int]) -> None:
    """Warns, once, of a text that has an unknown token among its ids."""
    if not self._noticed and self.unk_id in ids:
      self._noticed = True
      logger.warning(
        'the vocabulary %s has no token for a part of %r: the decoder reads it as '
        'unknown; other such texts are not named',
        self._decoder,
        text,
      )

  @property
  def chat(self) -> chat_template.ChatTemplate | None:
    """Returns the chat template of the decoder; None if it has none."""
    return self._tokenizer.read_chat()

  def encode_signs(self, text: str) -> list[int]:
    """Returns the ids of a program's text; signs of control tokens become tokens."""
    return self._tokenizer.encode_signs(text)

  @property
  def eos_id(self) -> int:
    """Returns the id of the end-of-sequence token."""
    return self._tokenizer.eos_id

  @property
  def other_ends(self) -> tuple[int, ...]:
    """Returns the ids of further tokens that end a text."""
    return self._tokenizer.other_ends

  @property
  def unk_id(self) -> int | None:
    """Returns the id for text without a token; None if every text has tokens."""
    return self._tokenizer.unk_id

  @property
  def _base_vocab_size(self) -> int:
    return self._tokenizer.size

  def _encode(self, s: str) -> list[int]:
    return self._tokenizer.encode(s)

  def _decode(self, ids: list[int]) -> str:
    # SeqIO truncates after the end of the sequence, which has no text itself.
    return self._tokenizer.decode([token for token in ids if token != self.eos_id])

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
    # In eager mode, TensorFlow wraps the text in an array.
    encode = lambda text: np.array(
      self._encode(np.asarray(text).item().decode()), np.int32
    )
    if s.shape.rank == 0:
      # A call of py_function would take ten times as long as the encoding.
      return tf.ensure_shape(tf.numpy_function(encode, [s], tf.int32), [None])
    rows = tf.RaggedTensorSpec([None], tf.int32, ragged_rank=0)
    return tf.map_fn(self._encode_tf, s, fn_output_signature=rows)

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    decode = lambda row: self.decode(row.tolist()).encode()
    if ids.shape.rank == 1:
      return tf.ensure_shape(tf.numpy_function(decode, [ids], tf.string), [])
    return tf.map_fn(self._decode_tf, ids, fn_output_signature=tf.string)

  def __eq__(self, other) -> bool:
    return isinstance(other, DecoderVocabulary) and other._decoder == self._decoder

  def __hash__(self) -> int:
    return hash(self._decoder)


@gin.configurable
def task_vocabulary(decoder: str = 'smollm2-135m-instruct') -> str:
  """Returns the name of the tasks' vocabulary.

  Args:
    decoder: name of a decoder, or path of a GGUF file ('.gguf'), of a SentencePiece
      model ('.model') or of a Hugging Face folder with its tokenizer; must be the
      tokenizer that `build.decoder` was trained with.
  """
  return decoder


@functools.cache
def load_vocabulary(decoder: str) -> DecoderVocabulary:
  """Loads a vocabulary once per process.

  Args:
    decoder: name or path that `task_vocabulary` returned.

  Raises:
    ValueError: the path is a folder without a tokenizer, or a SentencePiece model that
      does not exist.
  """
  if os.path.isdir(decoder):
    if os.path.exists(os.path.join(decoder, 'config.json')):
      from persoma_tf.decoders import check_folder  # imports JAX

      check_folder(decoder)  # an unsupported model is the first thing to tell
    tokenizer_in(decoder)
  elif decoder.endswith('.model') and not tf.io.gfile.exists(decoder):
    raise ValueError(f'task_vocabulary.decoder={decoder!r}: no such file')
  return DecoderVocabulary(decoder)


def tokenizer_in(decoder: str) -> str:
  """Returns the file of the tokenizer in a folder; other names and paths as they are.

  Raises:
    ValueError: the folder has no tokenizer.
  """
  if not os.path.isdir(decoder):
    return decoder
  for name in _FILES:
    if os.path.exists(path := os.path.join(decoder, name)):
      return path
  raise ValueError(
    f'task_vocabulary.decoder={decoder!r}: none of {", ".join(_FILES)} is in this '
    'folder; expected the tokenizer that was published with the model'
  )


def check_writable(question: Question, genres: Sequence[str]) -> None:
  """Checks that the recipe's vocabulary can write an answer with each genre.

  Args:
    question: question of the recipe.
    genres: names of all genres.

  Raises:
    ValueError: an answer has an unknown token or is not read back.
  """
  vocabulary = load_vocabulary(task_vocabulary())
  for names in ([], *([name] for name in genres)):
    text, side = question.answer(names, names), tuple(names)
    ids = vocabulary.encode(text)
    read = vocabulary.decode(ids)
    if vocabulary.unk_id in ids or question.parse(read, names) != (side, side, True):
      what = f'genre {names[0]!r}' if names else f'question {question.name}'
      raise ValueError(
        f'{what} cannot be written with the vocabulary {task_vocabulary()}: {text!r} '
        f'is read back as {read!r}; use other words, or a decoder that has tokens for '
        'these'
      )


class TaskVocabulary(seqio.Vocabulary):
  """Delegates to the vocabulary that gin names at the time of each call."""

  def __init__(self):
    """Makes the vocabulary without reading anything."""
    super().__init__(extra_ids=0)

  def notice_unknown(self, text: str, ids: Sequence[int]) -> None:
    """Warns, once, of a text that has an unknown token among its ids."""
    load_vocabulary(task_vocabulary()).notice_unknown(text, ids)

  @property
  def chat(self) -> chat_template.ChatTemplate | None:
    """Returns the chat template of the decoder; None if it has none."""
    return load_vocabulary(task_vocabulary()).chat

  def encode_signs(self, text: str) -> list[int]:
    """Returns the ids of a program's text; signs of control tokens become tokens."""
    return load_vocabulary(task_vocabulary()).encode_signs(text)

  @property
  def eos_id(self) -> int:
    """Returns the id of the end-of-sequence token."""
    return load_vocabulary(task_vocabulary()).eos_id

  @property
  def other_ends(self) -> tuple[int, ...]:
    """Returns the ids of further tokens that end a text."""
    return load_vocabulary(task_vocabulary()).other_ends

  @property
  def unk_id(self) -> int | None:
    """Returns the id for text without a token; None if every text has tokens."""
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
