"""SavedModels with the signature of Sentence-T5, made here, against numpy."""

import pathlib
import shutil

import keras
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
  'output',
  [
    lambda x: x,
    lambda x: {'outputs': x},
    lambda x: {'default': x, 'attention': x[:, :1]},  # as TF-Hub names what it takes
  ],
)
def test_vectors_alone_or_the_default(pieces, tmp_path, handle, output):
  encoder = encoders.load_encoder(save(tmp_path / 'm', pieces, output=output))
  expected = encoders.load_encoder(handle).encode(TEXTS)
  np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-6)


class Lengths(tf.Module):
  """Has no `__call__`: vectors of (bytes, 1), and others of (1, bytes)."""

  @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
  def vectors(self, texts):
    size = tf.cast(tf.strings.length(texts), tf.float32)
    one = tf.ones_like(size)
    return {'b_right': tf.stack([size, one], 1), 'a_left': tf.stack([one, size], 1)}

  @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
  def single(self, texts):
    return {'only': self.vectors(texts)['b_right']}

  @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
  def numbers(self, ids):
    return {'only': ids}


class Called(Lengths):
  """Can be called."""

  @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
  def __call__(self, texts):
    return self.output(self.vectors(texts))


def save_lengths(folder, **signatures) -> str:
  """Writes a `Lengths`; signatures are name -> method."""
  module = Lengths()
  functions = {name: getattr(module, method) for name, method in signatures.items()}
  tf.saved_model.save(module, str(folder), signatures=functions)
  return str(folder)


EXPECTED = np.array([[1, 1], [3, 1]], np.float32)  # of 'a' and 'bcd'


def test_several_outputs(tmp_path):
  """By letter, a_left would be the first."""
  handle = save_lengths(tmp_path / 'm', serving_default='vectors')
  message = r"has the outputs \['a_left', 'b_right'\]: choose one with --encoder_output"
  with pytest.raises(ValueError, match=message):
    encoders.load_encoder(handle)
  with pytest.raises(ValueError, match=message):
    encoders.load_encoder(handle, output='c')
  right = encoders.load_encoder(handle, output='b_right')
  np.testing.assert_array_equal(right.encode(['a', 'bcd']), EXPECTED)
  left = encoders.load_encoder(handle, output='a_left')
  np.testing.assert_array_equal(left.encode(['a', 'bcd']), EXPECTED[:, ::-1])
  assert left.sha256 != right.sha256  # vectors of one do not pass for the other's


@pytest.mark.parametrize(
  ('output', 'wanted', 'names'),
  [
    (lambda x: (x['a_left'], x['b_right']), '1', r"\['0', '1'\]"),
    (lambda x: x, 'b_right', r"\['a_left', 'b_right'\]"),
  ],
)
def test_several_outputs_of_a_model_that_can_be_called(tmp_path, output, wanted, names):
  module = Called()
  module.output = output
  tf.saved_model.save(module, str(tmp_path))
  with pytest.raises(ValueError, match=f'has the outputs {names}'):
    encoders.load_encoder(str(tmp_path))
  encoder = encoders.load_encoder(str(tmp_path), output=wanted)
  np.testing.assert_array_equal(encoder.encode(['a', 'bcd']), EXPECTED)


def test_signatures_are_called(tmp_path):
  for signatures, named in (
    ({'serving_default': 'single', 'another': 'vectors'}, {}),
    ({'default': 'single', 'another': 'vectors'}, {}),
    ({'question_encoder': 'single'}, {}),
    ({'question': 'single', 'answer': 'vectors'}, {'signature': 'question'}),
    ({'serving_default': 'vectors', 'x': 'single'}, {'signature': 'x'}),
  ):
    handle = save_lengths(tmp_path / str(len(list(tmp_path.iterdir()))), **signatures)
    encoder = encoders.load_encoder(handle, **named)
    np.testing.assert_array_equal(encoder.encode(['a', 'bcd']), EXPECTED)


@pytest.mark.parametrize(
  ('signatures', 'named', 'message'),
  [
    (
      {'question': 'single', 'answer': 'vectors'},
      {},
      r"signatures \['answer', 'question'\]: choose one with --encoder_signature",
    ),
    ({'serving_default': 'single'}, {'signature': 'x'}, r"signatures \['serving_def"),
    ({}, {}, r'has the signatures \[\]: choose'),
    (
      {'serving_default': 'numbers'},
      {},
      r"signature serving_default has the inputs \['ids'\]; expected one, of strings",
    ),
  ],
)
def test_other_signatures_are_refused(tmp_path, signatures, named, message):
  with pytest.raises(ValueError, match=message):
    encoders.load_encoder(save_lengths(tmp_path / 'm', **signatures), **named)


@pytest.mark.parametrize('shape', [(), (1,)])
def test_exports_of_keras_3(tmp_path, shape):
  """Their endpoint is `serve`, and many want a column of texts."""

  class Sizes(keras.layers.Layer):
    def call(self, texts):
      size = tf.strings.length(tf.reshape(texts, [-1]))
      return tf.stack([tf.cast(size, tf.float32), tf.ones_like(size, tf.float32)], 1)

    def compute_output_spec(self, texts):
      return keras.KerasTensor((None, 2), 'float32')

  texts = keras.Input(shape=shape, dtype='string')
  keras.Model(texts, Sizes()(texts)).export(str(tmp_path / 'm'), verbose=False)
  encoder = encoders.load_encoder(str(tmp_path / 'm'))
  np.testing.assert_array_equal(encoder.encode(['a', 'bcd']), EXPECTED)


def test_checksum_of_a_model_in_a_bucket(handle):
  """TensorFlow reads buckets and this folder in memory by the same functions."""
  folder = 'ram://bucket/model'
  tf.io.gfile.makedirs(f'{folder}/variables')
  for path in pathlib.Path(handle).rglob('*.*'):
    tf.io.gfile.copy(str(path), f'{folder}/{path.relative_to(handle)}')
  assert encoders.load_encoder(folder).sha256 == encoders.load_encoder(handle).sha256


def test_a_pointer_in_the_place_of_a_model(tmp_path, handle):
  folder = shutil.copytree(handle, tmp_path / 'm')
  pointer = 'version https://git-lfs.github.com/spec/v1'
  for name in ('variables/variables.index', 'saved_model.pb'):
    (folder / name).write_text(pointer)
    with pytest.raises(ValueError, match=rf'm/{name}: it is a Git LFS pointer'):
      encoders.load_encoder(str(folder))


def test_a_choice_is_for_saved_models():
  with pytest.raises(ValueError, match="'all-MiniLM-L6-v2' has one output"):
    encoders.load_encoder('all-MiniLM-L6-v2', output='x')


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
