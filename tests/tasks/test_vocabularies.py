"""The decoder's tokenizer against Hugging Face's ids, in Python and in TensorFlow."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tasks.vocabularies import GgufVocabulary

REFERENCE = pathlib.Path(__file__).parent / 'smollm2_token_ids.json'
pytestmark = pytest.mark.assets


@pytest.fixture(scope='module')
def vocabulary(assets):
  assets('smollm2-135m-instruct')
  return GgufVocabulary('smollm2-135m-instruct')


def test_ids_equal_hugging_face(vocabulary):
  """500 strings (benchmarks/record_smollm2_reference.py)."""
  rows = json.loads(REFERENCE.read_text())
  assert len(rows) == 500
  for text, ids in rows:
    assert vocabulary.encode(text) == ids, text
    assert vocabulary.decode(ids) == text


def test_tensorflow_side(vocabulary):
  texts = ["The user likes War and doesn't like none", '', '数据 😀']
  for text in texts:
    ids = vocabulary.encode_tf(tf.constant(text))
    assert ids.numpy().tolist() == vocabulary.encode(text)
    assert vocabulary.decode_tf(ids).numpy().decode() == text
  ragged = vocabulary.encode_tf(tf.constant(texts))
  assert ragged.to_list() == [vocabulary.encode(text) for text in texts]


def test_special_ids(vocabulary):
  assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.vocab_size) == (0, 2, 49_152)
  ids = vocabulary.encode('War')
  assert vocabulary.decode([*ids, 2, *ids]) == 'War<|im_end|>'
  assert 0 not in vocabulary.encode(' '.join(map(str, np.arange(500))))


def test_equality(vocabulary):
  assert vocabulary == GgufVocabulary('smollm2-135m-instruct')
  assert vocabulary != GgufVocabulary('other')
  assert hash(vocabulary) == hash(GgufVocabulary('smollm2-135m-instruct'))
