"""Universal Sentence Encoder: what its vectors must say."""

import numpy as np
import pytest

from persoma_tf import encoders


@pytest.fixture(scope='module')
def encoder():
  return encoders.load_encoder('use-multilingual-v3')


def test_meaning_across_languages(encoder):
  """From the published model's purpose: translations are near, other things far."""
  texts = ['A cop hunts a thief.', 'Ein Polizist jagt einen Dieb.', 'I like apple pie.']
  vectors = encoder.encode(texts)
  assert vectors.shape == (3, encoder.width) == (3, 512)
  assert vectors.dtype == np.float32
  np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
  near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
  assert near > 0.6 > 0.3 > far


def test_the_company_of_a_text_changes_nothing(encoder):
  texts = [f'The movie {n} is rated with {n % 5} stars' for n in range(70)]
  together = encoder.encode(texts)
  np.testing.assert_allclose(together[66], encoder.encode([texts[66]])[0], atol=1e-5)
  assert encoder.encode([]).shape == (0, 512)
