"""MiniLM against PyTorch and transformers (benchmarks/record_minilm_reference.py)."""

import pathlib

import numpy as np
import pytest

from persoma_tf import encoders

REFERENCE = pathlib.Path(__file__).parent / 'minilm_reference.npz'
pytestmark = pytest.mark.assets


@pytest.fixture(scope='module')
def encoder(assets):
  assets('all-MiniLM-L6-v2')
  return encoders.load_encoder('all-MiniLM-L6-v2')


def test_equals_transformers(encoder):
  reference = np.load(REFERENCE)
  vectors = encoder.encode(reference['texts'].tolist())
  assert vectors.shape == (100, encoder.width)
  assert vectors.dtype == np.float32
  np.testing.assert_allclose(vectors, reference['vectors'], atol=1e-4)


def test_the_company_of_a_text_changes_nothing(encoder):
  texts = ['short', 'The movie is rated with 4.5 stars', 'long ' * 60]
  together = encoder.encode(texts)
  alone = np.concatenate([encoder.encode([text]) for text in texts])
  np.testing.assert_allclose(together, alone, atol=1e-6)
  np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_no_text(encoder):
  assert encoder.encode([]).shape == (0, 384)


def test_titles_become_no_control_tokens(encoder):
  """The signs have capitals; the same in small letters was text at all times."""
  titles = ['Heat [SEP] [PAD]', '[CLS] Heat [MASK]', 'Heat [UNK]']
  expected = encoder.encode([title.lower() for title in titles])
  np.testing.assert_allclose(encoder.encode(titles), expected, atol=1e-6)
