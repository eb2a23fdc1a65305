"""Checks that a folder is finished and was made by the job that the reader expects."""

import pathlib

COMPLETED = 'COMPLETED'
# Job -> file that only this job writes.
OWN_FILE = {
  'pipelines.build_histories': 'dataset_info.json',
  'pipelines.embed_items': 'encoder_info.json',
  'persoma_tf.train': 'adapter/manifest.json',
  'pipelines.batch_predict': 'run_info.json',
}


def needed_files(job: str) -> tuple[str, str]:
  """Names the files that every finished folder of a job has."""
  return COMPLETED, OWN_FILE[job]


def not_finished(folder: str, job: str, missing: str) -> str:
  """Returns the error message for a folder that lacks a file of a finished folder.

  Args:
    folder: path or address of the folder.
    job: module of the job that makes such folders, a key of OWN_FILE.
    missing: name of the file that the folder lacks.
  """
  return (
    f'{folder} is not a finished folder of {job} (no {missing} in it): '
    f'make it with python -m {job}'
  )


def check_finished(folder: str, job: str) -> pathlib.Path:
  """Checks a local folder and returns it as a path.

  Args:
    folder: local path.
    job: module of the job that makes such folders, a key of OWN_FILE.

  Raises:
    FileNotFoundError: the folder is not finished, or another job made it.
  """
  for name in needed_files(job):
    if not pathlib.Path(folder, name).exists():
      raise FileNotFoundError(not_finished(folder, job, name))
  return pathlib.Path(folder)
