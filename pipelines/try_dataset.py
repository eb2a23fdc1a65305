"""Runs all jobs on a dataset file in seconds, with small models of random weights.

    python -m pipelines.try_dataset --dataset=books.yaml --output_dir=tried

What the model answers means nothing; everything else is as in a full run. In a test:

    from pipelines.try_dataset import run_chain

    def test_my_data(tmp_path):
      made = run_chain('books.yaml', tmp_path)
      assert made.counts['rows_rejected'] == 4
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipelines.common import flags
from pipelines.common.flags import path_flag
from pipelines.common.places import LOCAL


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  dataset: str = path_flag('dataset file to try')
  output_dir: str = path_flag('new or empty folder to write into', place=LOCAL)


class Chain(NamedTuple):
  """Holds what the jobs made of a dataset file.

  Attributes:
    folder: folder with `histories`, `embeddings`, `model`, `predictions` and `report`.
    info: content of `dataset_info.json`.
    rows: rows of the prediction tables.
  """

  folder: pathlib.Path
  info: Mapping[str, Any]
  rows: Sequence[Mapping[str, Any]]

  @property
  def counts(self) -> Mapping[str, Any]:
    """Returns the counts of rows, users and items."""
    return self.info['counts']


def recipe_of(questions: Mapping[str, Mapping[str, Any]]) -> str:
  """Returns the recipe for questions of a dataset file.

  One model answers several questions, unless one is a ranking: then the first is asked.

  Args:
    questions: words of each question by name, as in `dataset_info.json`.
  """
  kinds = [words.get('kind', 'lists') for words in questions.values()]
  if len(kinds) > 1 and 'rank' not in kinds:
    return 'runs/questions.gin'
  recipes = {'lists': 'dataset', 'number': 'choice'}
  return f'runs/{recipes.get(kinds[0], kinds[0])}.gin'


def run_chain(
  dataset: str | pathlib.Path, folder: str | pathlib.Path, *bindings: str
) -> Chain:
  """Runs build_histories, embed_items, train, batch_predict and evaluate.

  Args:
    dataset: path of the dataset file.
    folder: new or empty folder to write into.
    *bindings: gin bindings for the training, such as 'train.seed = 1'.

  Raises:
    JobError: the folder is not empty, or a job cannot run.
    ValueError, SystemExit: as the jobs do.
  """
  import gin

  from persoma_tf import testing, train
  from pipelines import batch_predict, build_histories, embed_items, evaluate
  from pipelines.common import storage
  from pipelines.common.job import JobError
  from pipelines.predictions import prediction_files

  folder = pathlib.Path(folder)
  if folder.exists() and any(folder.iterdir()):
    raise JobError(f'{folder} is not empty; name another --output_dir')
  at = lambda name: str(folder / name)
  made = [f'--histories_dir={at("histories")}', f'--embeddings_dir={at("embeddings")}']
  build_histories.run([f'--dataset={dataset}', f'--output_dir={at("histories")}'])
  decoder = testing.write_decoder(at('small_decoder'))
  encoder = testing.write_encoder(at('small_encoder'))
  embed_items.run([made[0], f'--encoder={encoder}', f'--output_dir={at("embeddings")}'])
  gin.clear_config()
  settings = [*testing.small_flags(decoder), *testing.gin_flags(bindings)]
  info = storage.read_json(at('histories/dataset_info.json'))
  recipe = [f'--gin_file={recipe_of(info["dataset"]["questions"])}', *settings]
  train.main([*recipe, *made, f'--model_dir={at("model")}'])
  gin.clear_config()
  made.append(f'--model_dir={at("model")}')
  batch_predict.run([*made, f'--output_dir={at("predictions")}'])
  predictions = f'--predictions_dir={at("predictions")}'
  evaluate.run([*made, predictions, f'--output_dir={at("report")}'])
  tables = prediction_files.folders_of_questions(at('predictions')).values()
  rows = [row for x in tables for row in prediction_files.read_predictions(x, 'avro')]
  return Chain(folder, info, rows)


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the jobs.

  Raises:
    JobError, ValueError, SystemExit: see `run_chain`.
  """
  config = flags.parse(Config, argv, __doc__)
  made = run_chain(config.dataset, config.output_dir)
  print(f'all jobs ran: {len(made.rows)} rows of predictions in {made.folder}')


if __name__ == '__main__':
  from pipelines import try_dataset
  from pipelines.common import job

  job.main(try_dataset.run)
