"""A SavedModel with the signature of Sentence-T5 and a tokenizer in its graph."""

import pathlib

import numpy as np
import sentencepiece
import tensorflow as tf
import tensorflow_text as tf_text

TEXTS = ['The movie Heat is listed with genres Crime', 'Été à Paris', 'été', 'a b']
WIDTH, VOCABULARY = 6, 30


def table() -> np.ndarray:
  """Token embeddings [V, H] float32."""
  rng = np.random.default_rng(0)
  return rng.normal(size=(VOCABULARY, WIDTH)).astype(np.float32)


def train_pieces(folder: pathlib.Path) -> bytes:
  """A SentencePiece model of the texts, serialized."""
  (folder / 'corpus.txt').write_text('\n'.join(TEXTS * 4))
  sentencepiece.SentencePieceTrainer.train(
    input=str(folder / 'corpus.txt'),
    model_prefix=str(folder / 'model'),
    vocab_size=VOCABULARY,
    minloglevel=2,
  )
  return (folder / 'model.model').read_bytes()


class Encoder(tf.Module):
  """Tokenizes, averages embeddings and normalizes, all inside the graph."""

  def __init__(self, pieces: bytes, output=lambda x: [x], normalize=True):
    super().__init__()
    self._tokenizer = tf_text.SentencepieceTokenizer(pieces)
    self.table, self._output = tf.Variable(table()), output
    self._normalize = normalize

  @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
  def __call__(self, texts):
    tokens = self._tokenizer.tokenize(texts)
    mean = tf.reduce_mean(tf.gather(self.table, tokens), axis=1)
    return self._output(tf.nn.l2_normalize(mean, 1) if self._normalize else mean)


def save(folder, *arguments, **options) -> str:
  """Writes one; arguments are those of `Encoder`."""
  tf.saved_model.save(Encoder(*arguments, **options), str(folder))
  return str(folder)
