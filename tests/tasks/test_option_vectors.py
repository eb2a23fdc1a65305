"""Vectors of the options' texts come from the encoder of the interactions."""

import json
import shutil

import gin
import numpy as np
import pytest

from persoma_tf.encoders import load_encoder
from tasks import genre_prediction, item_vectors
from tasks.histories import load_genres

ENCODER = 'all-MiniLM-L6-v2'


@pytest.fixture
def embedded(assets, folders, tmp_path):
  """Binds folders whose encoder is here; returns the histories and the info's path."""
  assets(ENCODER)
  histories, embeddings = folders
  copy = shutil.copytree(embeddings, tmp_path / 'embeddings')
  gin.clear_config()
  gin.bind_parameter('data_folders.histories_dir', str(histories))
  gin.bind_parameter('data_folders.embeddings_dir', str(copy))
  yield str(histories), copy / 'encoder_info.json'
  gin.clear_config()


def write(path, sha256):
  info = json.loads(path.read_text())
  info |= {'encoder': ENCODER, 'encoder_sha256': sha256}
  path.write_text(json.dumps(info))
  item_vectors.load_item_vectors.cache_clear()


def test_they_are_those_of_the_names(embedded):
  histories, path = embedded
  encoder = load_encoder(ENCODER)
  write(path, encoder.sha256)
  expected = encoder.encode(load_genres(histories).names)
  np.testing.assert_array_equal(genre_prediction.option_vectors(), expected)
  assert genre_prediction.num_categories() == len(expected)


def test_other_weights_are_refused(embedded):
  _, path = embedded
  write(path, 'f' * 64)
  with pytest.raises(ValueError, match='was made with weights ffff'):
    genre_prediction.option_vectors()
