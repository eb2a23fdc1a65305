"""Whether a local folder that the tasks read is whole, and of the job they expect."""

import pathlib

# Kind -> the job that writes such a folder, and a file that no other job writes.
_JOBS = {
  'histories': ('pipelines.build_histories', 'dataset_info.json'),
  'embeddings': ('pipelines.embed_items', 'encoder_info.json'),
}


def check_finished(folder: str, kind: str) -> pathlib.Path:
  """Returns the folder of a kind, 'histories' or 'embeddings'.

  Raises:
    FileNotFoundError: it is not finished, or of another job.
  """
  module, own = _JOBS[kind]
  for name in ('COMPLETED', own):
    if not pathlib.Path(folder, name).exists():
      raise FileNotFoundError(
        f'{folder}: not a finished {kind} folder (no {name} in it); '
        f'make it with python -m {module}'
      )
  return pathlib.Path(folder)
