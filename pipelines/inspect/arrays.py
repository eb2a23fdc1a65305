"""Describes checkpoints and adapters: names, shapes and types of the parameters."""

import collections
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError, safe_open

from pipelines.inspect.record_files import Damaged

_ADAPTER, _MANIFEST = 'adapter.safetensors', 'manifest.json'


def is_checkpoint(folder: pathlib.Path) -> bool:
  """Tells whether a folder is a `checkpoint_<step>` of the trainer or of T5X."""
  return (folder / 'state').is_dir()


def is_adapter(folder: pathlib.Path) -> bool:
  """Tells whether a folder is an `adapter/`."""
  return (folder / _ADAPTER).exists() or (folder / _MANIFEST).exists()


def bytes_on_disk(path: pathlib.Path) -> int:
  """Returns the bytes of a file, or of all files under a folder."""
  files = path.rglob('*') if path.is_dir() else [path]
  return sum(file.stat().st_size for file in files if file.is_file())


def describe_checkpoint(folder: pathlib.Path) -> dict[str, Any]:
  """Describes a checkpoint by its metadata.

  Returns:
    {'parameters': number, 'groups': {group: number}, 'arrays': {path: text}, 'bytes',
    'optimizer_bytes'}.

  Raises:
    Damaged: Orbax cannot read the metadata.
  """
  import orbax.checkpoint as ocp  # imports JAX; only checkpoints need it
  from flax import traverse_util

  try:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
      tree = reader.metadata(folder.absolute() / 'state').item_metadata.tree
    metadata = traverse_util.flatten_dict(tree['target'], sep='/')
  except Exception as error:  # Orbax and its libraries raise many types
    raise Damaged(f'{folder}: no checkpoint, or damaged: {error}') from error
  arrays = {path: (str(x.dtype), tuple(x.shape)) for path, x in metadata.items()}
  optimizer = folder / 'optimizer'
  return {
    **_summary(arrays),
    'bytes': bytes_on_disk(folder),
    'optimizer_bytes': bytes_on_disk(optimizer) if optimizer.exists() else 0,
  }


def describe_adapter(folder: pathlib.Path) -> dict[str, Any]:
  """Describes an adapter by its manifest and its arrays.

  Returns:
    'manifest', the manifest without its shapes; the other entries as from
    `describe_checkpoint`, without 'optimizer_bytes'.

  Raises:
    Damaged: a file is missing or unreadable, or the manifest lists other arrays.
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
    raise Damaged(f'{folder}: {_MANIFEST} lists other arrays than {_ADAPTER} holds')
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
