"""Manages the folder of a training run, which is recognized by its `config.gin`."""

import difflib
import fcntl
import os
import pathlib
import re
import shutil
from collections.abc import Iterator

import gin

from persoma_tf.parameters.checkpoints import replace_file

CONFIG = 'config.gin'  # the complete operative configuration
# What a run writes; a file in a folder of checkpoints counts as that folder.
_OF_A_RUN = re.compile(
  r'((config\.gin|COMPLETED|inputs\.json|metrics\.jsonl)(\.tmp)?|half-written\.tmp'
  r'|events\.out\.tfevents\.[^/]+|checkpoint_\d+(\.orbax-checkpoint-tmp[^/]*)?'
  r'|adapter/((adapter\.safetensors|manifest\.json)(\.tmp)?|README\.md))'
)
_SHOWN = 3  # names of files in a message
_held: dict[pathlib.Path, int] = {}  # folders that this process has locked


def delete_run(folder: pathlib.Path) -> None:
  """Deletes the files of a run, if the folder exists.

  Raises:
    ValueError: the folder has files but no config.gin, or files that no run wrote, or
      another process trains in it; nothing is deleted then.
  """
  if not folder.exists():
    return
  if any(folder.iterdir()) and not (folder / CONFIG).exists():
    raise ValueError(
      f'--overwrite would delete {folder}, which is not a PERSOMA run (no {CONFIG} '
      'in it); name another --model_dir or empty it yourself'
    )
  paths = {str(path.relative_to(folder)): path for path in _parts(folder)}
  others = sorted(name for name in paths if not _OF_A_RUN.fullmatch(name))
  if others:
    raise ValueError(
      f'--overwrite deletes nothing in {folder}, for it also holds files that no '
      f'training wrote, such as {", ".join(others[:_SHOWN])}; name another --model_dir '
      'or move them away'
    )
  _hold(folder)
  # First what makes it finished, last what makes it the folder of a run.
  order = {'COMPLETED': 0, CONFIG: 2}
  for path in sorted(paths.values(), key=lambda path: order.get(path.name, 1)):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _parts(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the files in a folder and in its `adapter`, and all other folders in it."""
  for path in folder.iterdir():
    if path.name == 'adapter' and path.is_dir():
      yield from path.iterdir()
    else:
      yield path


def check_config(folder: pathlib.Path) -> None:
  """Checks that the run in a folder, if any, has the current gin configuration.

  A run that ended before its first checkpoint has nothing to lose, so another one may
  take its place.

  Must be called after `TrainingRun` and a batch of each stage. Every configurable was
  then called once, so the operative configuration is complete.

  Raises:
    ValueError: the folder belongs to a run with another configuration, or to another
      job.
  """
  config, file = gin.operative_config_str(), folder / CONFIG
  markers = [name for name in ('COMPLETED', 'UNFINISHED') if (folder / name).exists()]
  if markers and not file.exists():
    raise ValueError(
      f'{folder} is no folder of a training: it has {markers[0]} and no {CONFIG}; name '
      'another --model_dir'
    )
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
  """Writes config.gin of the run that starts or resumes.

  Raises:
    ValueError: another process trains in the folder.
  """
  folder.mkdir(parents=True, exist_ok=True)
  _hold(folder)
  replace_file(folder / CONFIG, gin.operative_config_str().encode())


def _hold(folder):
  """Locks a folder until this process ends, however it ends."""
  if folder.resolve() in _held:
    return
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    os.close(descriptor)
    raise ValueError(
      f'{folder}: another process trains in this folder: wait until it has ended, or '
      'end it, or name another --model_dir'
    ) from error
  except OSError:  # a file system without locks
    pass
  _held[folder.resolve()] = descriptor
