"""Checkpoints and adapters: names, shapes and types of parameters, not their values."""

import collections
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import orbax.checkpoint as ocp
from flax import traverse_util
from safetensors import SafetensorError, safe_open

from pipelines.inspect.record_files import Damaged

_ADAPTER, _MANIFEST = 'adapter.safetensors', 'manifest.json'


def is_checkpoint(folder: pathlib.Path) -> bool:
  """Whether a folder is a `checkpoint_<step>`, ours or T5X's."""
  return (folder / 'state').is_dir()


def is_adapter(folder: pathlib.Path) -> bool:
  """Whether a folder is an `adapter/`."""
  return (folder / _ADAPTER).exists() or (folder / _MANIFEST).exists()


def bytes_on_disk(path: pathlib.Path) -> int:
  """Bytes of a file, or of all files under a folder."""
  files = path.rglob('*') if path.is_dir() else [path]
  return sum(file.stat().st_size for file in files if file.is_file())


def describe_checkpoint(folder: pathlib.Path) -> dict[str, Any]:
  """What the metadata of a checkpoint say.

  Returns:
    {'parameters', 'groups', 'arrays': {path: text}, 'bytes', 'optimizer_bytes'}.

  Raises:
    Damaged: it has no metadata that Orbax can read.
  """
  try:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
      tree = reader.metadata(folder.absolute() / 'state').item_metadata.tree
    found = traverse_util.flatten_dict(tree['target'], sep='/')
  except Exception as error:  # whatever Orbax and what is below it raise
    raise Damaged(f'{folder}: no checkpoint, or damaged: {error}') from error
  arrays = {path: (str(x.dtype), tuple(x.shape)) for path, x in found.items()}
  optimizer = folder / 'optimizer'
  return {
    **_summary(arrays),
    'bytes': bytes_on_disk(folder),
    'optimizer_bytes': bytes_on_disk(optimizer) if optimizer.exists() else 0,
  }


def describe_adapter(folder: pathlib.Path) -> dict[str, Any]:
  """The manifest of an adapter and the arrays beside it.

  Returns:
    The manifest without its shapes, and as `checkpoint`.

  Raises:
    Damaged: a file is missing or cannot be read, or they do not belong together.
  """
  try:
    manifest = json.loads((folder / _MANIFEST).read_text())
    shapes = manifest.pop('parameters', {})
    with safe_open(folder / _ADAPTER, 'numpy') as file:
      slices = {path: file.get_slice(path) for path in file.keys()}  # noqa: SIM118
      arrays = {
        path: (x.get_dtype(), tuple(x.get_shape())) for path, x in slices.items()
      }
  except (OSError, ValueError, AttributeError, SafetensorError) as error:
    raise Damaged(f'{folder}: no adapter, or damaged: {error}') from error
  if {path: list(shape) for path, (_, shape) in arrays.items()} != shapes:
    raise Damaged(f'{folder}: {_MANIFEST} tells of other arrays than {_ADAPTER} has')
  return {'manifest': manifest, **_summary(arrays), 'bytes': bytes_on_disk(folder)}


def _summary(arrays: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, Any]:
  groups = collections.Counter()
  for path, (_, shape) in arrays.items():
    groups[path.split('/')[0]] += math.prod(shape)
  return {
    'parameters': groups.total(),
    'groups': dict(groups),
    'arrays': {
      path: f'{kind} {list(shape)}' for path, (kind, shape) in sorted(arrays.items())
    },
  }
