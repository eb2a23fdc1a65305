"""The folder of a training run, which its `config.gin` tells from others."""

import difflib
import pathlib
import shutil

import gin

CONFIG = 'config.gin'  # the whole resolved configuration


def delete_run(folder: pathlib.Path) -> None:
  """Deletes the folder of a run, where there is one.

  Raises:
    ValueError: it holds files and no config.gin.
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
  """Checks config.gin, where there is one, against the run that is to go on.

  To be called after `TrainingRun` and a batch of each stage: by then every configurable
  was called once, and the operative configuration is whole.

  Raises:
    ValueError: the folder holds a run of another configuration.
  """
  config, file = gin.operative_config_str(), folder / CONFIG
  if file.exists() and file.read_text() != config:
    changed = difflib.unified_diff(
      file.read_text().splitlines(), config.splitlines(), 'before', 'now', n=0
    )
    lines = '\n  '.join(list(changed)[2:12])
    raise ValueError(
      f'{file} belongs to a run with other settings; use another --model_dir or '
      f'pass --overwrite to start again:\n  {lines}'
    )


def write_config(folder: pathlib.Path) -> None:
  """Writes config.gin of the run that begins or goes on."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / CONFIG).write_text(gin.operative_config_str())
