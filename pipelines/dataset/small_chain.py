"""Runs all jobs on a dataset file in seconds, with small models, for users' own tests.

from pipelines.dataset.small_chain import run_chain

def test_my_data(tmp_path):
  made = run_chain('books.yaml', tmp_path)
  assert made.counts['rows_rejected'] == 4
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gin

from persoma_tf import testing, train
from pipelines import batch_predict, build_histories, embed_items, evaluate
from pipelines.common import storage
from pipelines.predictions import prediction_files


class Chain(NamedTuple):
  """Holds what the jobs made of a dataset file.

  Attributes:
    folder: folder with `histories`, `embeddings`, `model`, `predictions` and `report`.
    info: content of `dataset_info.json`.
    rows: rows of the prediction table; what they answer means nothing.
  """

  folder: pathlib.Path
  info: Mapping[str, Any]
  rows: Sequence[Mapping[str, Any]]

  @property
  def counts(self) -> Mapping[str, Any]:
    """Returns the counts of rows, users and items."""
    return self.info['counts']


def run_chain(
  dataset: str | pathlib.Path, folder: str | pathlib.Path, *bindings: str
) -> Chain:
  """Runs build_histories, embed_items, train, batch_predict and evaluate.

  Args:
    dataset: path of the dataset file.
    folder: folder to write into.
    *bindings: gin bindings for the training, such as 'train.seed = 1'.

  Raises:
    JobError, ValueError, SystemExit: as the jobs do.
  """
  folder = pathlib.Path(folder)
  at = lambda name: str(folder / name)
  decoder = testing.write_decoder(at('small_decoder'))
  encoder = testing.write_encoder(at('small_encoder'))
  made = [f'--histories_dir={at("histories")}', f'--embeddings_dir={at("embeddings")}']
  build_histories.run([f'--dataset={dataset}', f'--output_dir={at("histories")}'])
  embed_items.run([made[0], f'--encoder={encoder}', f'--output_dir={at("embeddings")}'])
  gin.clear_config()
  more = [f'--gin.{binding.replace(" = ", "=", 1)}' for binding in bindings]
  recipe = ['--gin_file=runs/dataset.gin', *testing.small_flags(decoder), *more]
  train.main([*recipe, *made, f'--model_dir={at("model")}'])
  gin.clear_config()
  made.append(f'--model_dir={at("model")}')
  batch_predict.run([*made, f'--output_dir={at("predictions")}'])
  predictions = f'--predictions_dir={at("predictions")}'
  evaluate.run([*made, predictions, f'--output_dir={at("report")}'])
  info = storage.read_json(at('histories/dataset_info.json'))
  rows = prediction_files.read_predictions(at('predictions'), 'avro')
  return Chain(folder, info, rows)
