"""SavedModels with the signature of Sentence-T5, made here, against numpy."""

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf

from persoma_tf import encoders
from tests.sentence_encoder import TEXTS, WIDTH, save, table, train_pieces


@pytest.fixture(scope='module')
def pieces(tmp_path_factory):
  """A trained SentencePiece model, serialized."""
  return train_pieces(tmp_path_factory.mktemp('pieces'))


@pytest.fixture(scope='module')
def handle(tmp_path_factory, pieces):
  return save(tmp_path_factory.mktemp('encoder'), pieces)


def test_equals_numpy(handle, pieces):
  encoder = encoders.load_encoder(handle)
  vectors = encoder.encode(TEXTS)
  assert (encoder.name, encoder.width) == (handle, WIDTH)
  assert vectors.dtype == np.float32
  processor = sentencepiece.SentencePieceProcessor(model_proto=pieces)
  for text, vector in zip(TEXTS, vectors, strict=True):
    mean = table()[processor.encode(text)].mean(0)
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
  assert encoder.encode([]).shape == (0, WIDTH)


def test_checksum_is_of_the_content(handle, pieces, tmp_path):
  sha256 = encoders.load_encoder(handle).sha256
  copy = tmp_path / 'copy'
  tf.io.gfile.makedirs(str(copy / 'variables'))
  for name in ('saved_model.pb', 'variables/variables.index'):
    tf.io.gfile.copy(f'{handle}/{name}', str(copy / name))
  data = 'variables/variables.data-00000-of-00001'
  tf.io.gfile.copy(f'{handle}/{data}', str(copy / data))
  assert encoders.load_encoder(str(copy)).sha256 == sha256
  (copy / 'assets').mkdir()
  (copy / 'assets' / 'vocabulary.txt').write_text('a')
  assert encoders.load_encoder(str(copy)).sha256 != sha256


@pytest.mark.parametrize(
  'output', [lambda x: x, lambda x: {'outputs': x}, lambda x: (x, x[:, :1])]
)
def test_vectors_alone_or_first_of_several(pieces, tmp_path, handle, output):
  encoder = encoders.load_encoder(save(tmp_path / 'm', pieces, output=output))
  expected = encoders.load_encoder(handle).encode(TEXTS)
  np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-6)


@pytest.mark.parametrize(
  ('output', 'message'),
  [
    (lambda x: tf.reduce_mean(x, 1), r'gave float32 \(1,\) for 1 texts'),
    (lambda x: tf.cast(x, tf.float64), r'gave float64 \(1, 6\) for 1 texts'),
    (lambda x: x / 0.0, "is not finite for 'The movie is rated with 4.5 stars'"),
  ],
)
def test_other_outputs_are_refused(pieces, tmp_path, output, message):
  with pytest.raises(ValueError, match=message):
    encoders.load_encoder(save(tmp_path / 'm', pieces, output=output))


def test_no_such_model(tmp_path):
  with pytest.raises(ValueError, match=r'cannot be loaded: .*with saved_model.pb'):
    encoders.load_encoder(str(tmp_path))
  with pytest.raises(ValueError, match=r'tfhub\.invalid/model/1.*cannot be loaded'):
    encoders.load_encoder('https://tfhub.invalid/model/1')


def test_unknown_name():
  with pytest.raises(ValueError, match=r"did you mean 'sentence-t5-base'\?"):
    encoders.load_encoder('sentence-t5')
