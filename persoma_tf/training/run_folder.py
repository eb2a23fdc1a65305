"""Manages the folder of a training run, which is recognized by its `config.gin`."""

import difflib
import pathlib
import shutil

import gin

CONFIG = 'config.gin'  # the complete operative configuration


def delete_run(folder: pathlib.Path) -> None:
  """Deletes the folder of a run, if it exists.

  Raises:
    ValueError: the folder has files but no config.gin.
  """
  if not folder.exists():
    return
  if any(folder.iterdir()) and not (folder / CONFIG).exists():
    raise ValueError(
      f'--overwrite would delete {folder}, which is not a PERSOMA run (no {CONFIG} '
      'in it); name another --model_dir or empty it yourself'
    )
  shutil.rmtree(folder)


def check_config(folder: pathlib.Path) -> None:
  """Checks that the run in a folder, if any, has the current gin configuration.

  A run that ended before its first checkpoint has nothing to lose, so another one may
  take its place.

  Must be called after `TrainingRun` and a batch of each stage. Every configurable was
  then called once, so the operative configuration is complete.

  Raises:
    ValueError: the folder belongs to a run with another configuration.
  """
  config, file = gin.operative_config_str(), folder / CONFIG
  made = [x for x in folder.glob('checkpoint_*') if '.' not in x.name]  # finished ones
  made += folder.glob('COMPLETED')
  if made and file.exists() and file.read_text() != config:
    changed = difflib.unified_diff(
      file.read_text().splitlines(), config.splitlines(), 'before', 'now', n=0
    )
    lines = '\n  '.join(list(changed)[2:12])
    raise ValueError(
      f'{file} belongs to a run with other settings; use another --model_dir or '
      f'pass --overwrite to start again:\n  {lines}'
    )


def write_config(folder: pathlib.Path) -> None:
  """Writes config.gin of the run that starts or resumes."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / CONFIG).write_text(gin.operative_config_str())
