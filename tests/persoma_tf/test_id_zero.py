"""Id 0 is a word of many vocabularies: nothing depends on which word has which id.

The same examples go through SeqIO's features, losses and search twice: once as they
are, and once with every id shifted by a few, in the texts and in the decoder.
"""

import jax
import numpy as np
import pytest
import seqio
import tensorflow as tf

from persoma_tf.inference import generate
from persoma_tf.losses import mean_losses
from persoma_tf.model import Prompts
from persoma_tf.prompt_parts import ORDERS
from persoma_tf.training import batching
from persoma_tf.training.feature_converter import HistoryFeatureConverter
from tests.persoma_tf import small_model
from tests.persoma_tf.small_model import H, N, V

SHIFT, END = 4, 7
PROMPTS = [[0], [3, 0, 5], [0, 0]]
TARGETS = [[0, 0, 2, END], [0, END], [9, 0, END]]
LENGTHS = {'inputs': 4, 'targets': 5, 'history_embeddings': N, 'history_mask': N}


def batch(shift, pad):
  """The examples with shifted ids, as model features."""
  vectors = np.random.default_rng(0).normal(size=(3, N, H)).astype(np.float32)
  rows = zip(PROMPTS, TARGETS, vectors, strict=True)

  def examples():
    for prompt, target, vector in rows:
      yield {
        'inputs': (np.array(prompt, np.int32) + shift) % V,
        'targets': (np.array(target, np.int32) + shift) % V,
        'history_embeddings': vector,
        'history_mask': np.ones(N, np.int32),
      }

  spec = lambda *shape, dtype=tf.int32: tf.TensorSpec(shape, dtype)
  signature = {
    'inputs': spec(None),
    'targets': spec(None),
    'history_embeddings': spec(N, H, dtype=tf.float32),
    'history_mask': spec(N),
  }
  dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
  converter = HistoryFeatureConverter(pad=pad)
  made = converter(dataset, LENGTHS)
  limits = converter.get_model_feature_lengths(LENGTHS)
  made = made.batch(3) if pad else batching._padded(made, limits, 3)
  return next(made.as_numpy_iterator())


@pytest.fixture(scope='module')
def models():
  """shift -> (model, parameters with the words in these places)."""
  model, params, _ = small_model.make(3)
  decoder = params['decoder']
  table = np.roll(decoder['embedder']['embedding'], SHIFT, axis=0)
  shifted = params | {'decoder': decoder | {'embedder': {'embedding': table}}}
  return {0: (model, params), SHIFT: (model, shifted)}


@pytest.mark.parametrize('pad', [True, False], ids=['by SeqIO', 'by batches'])
def test_masks_tell_the_padding(pad):
  found = batch(0, pad)
  lengths = lambda rows: [len(row) for row in rows]
  assert found['encoder_input_mask'].sum(1).tolist() == lengths(PROMPTS)
  assert found['decoder_loss_weights'].sum(1).tolist() == lengths(TARGETS)
  for name in ('encoder_input_mask', 'decoder_loss_weights'):
    assert (np.diff(found[name]) <= 0).all(), 'padding stands on the right'


@pytest.mark.parametrize('pad', [True, False], ids=['by SeqIO', 'by batches'])
def test_the_loss_is_the_same(models, pad):
  loss = jax.jit(mean_losses, static_argnums=0, static_argnames='history')
  losses = [
    loss(*models[shift], batch(shift, pad), history=False)['lm_loss']
    for shift in models
  ]
  np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize('order', ORDERS)
def test_the_answers_are_the_same(models, order):
  answers = []
  for shift, (model, params) in models.items():
    features, eos_id = batch(shift, True), END + shift
    histories = features['history_embeddings'], features['history_mask']
    model, task = model.clone(parts=ORDERS[order]), generate.Task(eos_id, 6)

    @jax.jit
    def write(params, histories, prompts, model=model, task=task):
      soft = generate.soft_prompt(model, params, *histories)
      return generate.greedy(model, params, soft, prompts, task)

    made = write(params, histories, Prompts.of(features))
    answers.append((np.asarray(made.tokens - shift) % V, made.log_prob))
  np.testing.assert_array_equal(*(tokens for tokens, _ in answers))
  np.testing.assert_allclose(*(log_prob for _, log_prob in answers), rtol=1e-5)


def test_a_vocabulary_whose_first_word_ends_a_prompt():
  """SeqIO's own trimming and end of sequence leave the word."""
  vocabulary = seqio.PassThroughVocabulary(V, eos_id=END)
  feature = seqio.Feature(vocabulary, add_eos=False)
  made = seqio.preprocessors.append_eos(
    tf.data.Dataset.from_tensors({'inputs': [3, 0]}), {'inputs': feature}
  )
  assert next(made.as_numpy_iterator())['inputs'].tolist() == [3, 0]
