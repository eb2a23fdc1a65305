"""Checks that a folder is finished and was made by the job that the reader expects."""

import os
import pathlib
from collections.abc import Callable

COMPLETED = 'COMPLETED'
# Job -> file by which its folders are recognized. A folder of t5x_answers takes the
# place of one of batch_predict.
OWN_FILE = {
  'pipelines.build_histories': 'dataset_info.json',
  'pipelines.embed_items': 'encoder_info.json',
  'persoma_tf.train': 'adapter/manifest.json',
  'pipelines.batch_predict': 'run_info.json',
  'pipelines.t5x_answers': 'run_info.json',
  'pipelines.evaluate': 'metrics.json',
  'pipelines.study_report': 'study.html',
}


def check_finished(
  folder: str, job: str, exists: Callable[[str], bool] = os.path.exists
) -> pathlib.Path:
  """Checks a folder and returns it as a path.

  Args:
    folder: address of the folder.
    job: module of the job that makes such folders, a key of OWN_FILE.
    exists: tells whether there is a file; for folders that are not local.

  Raises:
    FileNotFoundError: the folder is not finished, or another job made it.
  """
  for name in (COMPLETED, OWN_FILE[job]):
    if not exists(f'{folder.rstrip("/")}/{name}'):
      raise FileNotFoundError(
        f'{folder} is not a finished folder of {job} (no {name} in it): '
        f'make it with python -m {job}'
      )
  return pathlib.Path(folder)
