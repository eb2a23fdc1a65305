"""Methods that read item vectors, on real histories."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.common import storage
from pipelines.report import run_results
from pipelines.report.vector_answers import answer_from_vectors
from tasks import baselines
from tasks.labels import LabelRule


def read(histories):
  """(dataset_info.json, users of train, users of test)."""
  info = storage.read_json(f'{histories}/dataset_info.json')
  users = [
    run_results.read_split(str(histories), split, info['genres'])
    for split in ('train', 'test')
  ]
  return info, *users


def with_vectors(embeddings, folder, vectors):
  """A copy of an embeddings folder with other item vectors [I, H]."""
  shutil.copytree(embeddings, folder)
  flat = pa.array(vectors.astype(np.float32).ravel())
  column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
  table = pa.table({'item_index': np.arange(len(vectors)), 'title_genres': column})
  pq.write_table(table, folder / 'embeddings.parquet')
  return str(folder)


def test_vectors_that_are_the_genres_give_the_answers_of_the_rule(folders, tmp_path):
  histories, embeddings = folders
  info, train, test = read(histories)
  genres = run_results.read_genres(str(histories), info['genres'])
  told = with_vectors(embeddings, tmp_path / 'e', genres)
  found = answer_from_vectors(told, str(histories), info, train, test)
  wanted = baselines.rule_on_sample(
    test.samples, len(info['genres']), LabelRule(**info['label_rule'])
  )
  np.testing.assert_array_equal(found['linear_probe'].answers, wanted)
  assert found.keys() == {'linear_probe', 'logistic_regression', 'nearest_users'}
  for made in found.values():
    assert made.answers.shape == test.truth.shape


def test_labels_of_the_users_to_answer_are_not_read(folders):
  histories, embeddings = folders
  info, train, test = read(histories)
  blind = test._replace(truth=~test.truth)
  made = [
    answer_from_vectors(str(embeddings), str(histories), info, train, users)
    for users in (test, blind)
  ]
  for name, found in made[0].items():
    np.testing.assert_array_equal(found.answers, made[1][name].answers)
    assert found.settings == made[1][name].settings
