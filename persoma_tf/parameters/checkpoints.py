"""Checkpoints in the layout that T5X reads and writes, and adapters on their own.

    model_dir/checkpoint_<step>/state      {'target': params, 'state': {'step': ...}}
    model_dir/checkpoint_<step>/optimizer  the native trainer's optimizer state
    model_dir/adapter/                     adapter.safetensors, manifest.json

A checkpoint appears under its name only when it is whole. Restores are strict:
missing, unknown or misshapen parameters are errors.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Container, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util
from safetensors import numpy as safetensors

_ITEMS = ('state', 'optimizer')


def manager(model_dir: str, keep: int | None = 1) -> ocp.CheckpointManager:
  """Orbax manager of `checkpoint_<step>` folders; the newest `keep` stay."""
  options = ocp.CheckpointManagerOptions(
    step_prefix='checkpoint', max_to_keep=keep, enable_async_checkpointing=False
  )
  folder = pathlib.Path(model_dir).absolute()
  return ocp.CheckpointManager(folder, item_names=_ITEMS, options=options)


def save(
  checkpoints: ocp.CheckpointManager, step: int, params: Mapping, optimizer: Any
) -> None:
  """Writes `checkpoint_<step>`; returns when it is on disk.

  Args:
    checkpoints: of `manager`.
    step: number of finished steps.
    params: {'adapter': ..., 'decoder': ...}.
    optimizer: any pytree of arrays; its leaves are stored in order.
  """
  host = lambda tree: jax.tree.map(np.asarray, tree)
  state = {'target': host(params), 'state': {'step': np.int32(step)}}
  leaves = {f'{i:04}': np.asarray(x) for i, x in enumerate(jax.tree.leaves(optimizer))}
  leaves = leaves or {'none': np.zeros(1)}  # Orbax refuses an empty tree
  checkpoints.save(
    step,
    args=ocp.args.Composite(
      state=ocp.args.PyTreeSave(state), optimizer=ocp.args.PyTreeSave(leaves)
    ),
    force=True,
  )
  checkpoints.wait_until_finished()


def prune(checkpoints: ocp.CheckpointManager, keep: Container[int]) -> None:
  """Deletes all checkpoints but those of the steps in `keep`."""
  for step in checkpoints.all_steps():
    if step not in keep:
      checkpoints.delete(step)


def load_params(checkpoint_dir: str) -> dict:
  """Parameters of one `checkpoint_<step>` folder, ours or T5X's, as numpy arrays.

  On whatever devices they were written. The optimizer's state is not read.
  """
  state = pathlib.Path(checkpoint_dir).absolute() / 'state'
  if not state.exists():
    raise FileNotFoundError(f'{checkpoint_dir}: no Orbax state/ folder in it')
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
    stored = {'target': reader.metadata(state).item_metadata.tree['target']}
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    plain = ocp.RestoreArgs(restore_type=np.ndarray)
    how = ocp.args.PyTreeRestore(
      item=jax.tree.map(shape, stored),
      restore_args=jax.tree.map(lambda _: plain, stored),
      partial_restore=True,
    )
    return reader.restore(state, args=how)['target']


def load_optimizer(checkpoint_dir: str, like: Any) -> Any:
  """The optimizer state of a native checkpoint, in the structure of `like`.

  Raises:
    ValueError: the checkpoint was made with another optimizer or other parameters.
  """
  with ocp.PyTreeCheckpointer() as reader:
    stored = reader.restore(pathlib.Path(checkpoint_dir).absolute() / 'optimizer')
  leaves, tree = jax.tree.flatten(like)
  values = [stored[key] for key in sorted(stored) if key != 'none']
  shapes = lambda arrays: [np.shape(x) for x in arrays]
  if shapes(values) != shapes(leaves):
    raise ValueError(
      f'{checkpoint_dir}: its optimizer state does not fit this run: '
      f'{len(values)} arrays stored, {len(leaves)} expected'
    )
  return jax.tree.unflatten(tree, values)


def checkpoint_folder(model_dir: str, step: int) -> str:
  """Path of `checkpoint_<step>`."""
  return str(pathlib.Path(model_dir) / f'checkpoint_{step}')


def latest(model_dir: str) -> str:
  """The newest finished checkpoint folder.

  Raises:
    FileNotFoundError: there is none.
  """
  step = manager(model_dir).latest_step()
  if step is None:
    raise FileNotFoundError(f'{model_dir}: no checkpoint_<step> folder in it')
  return checkpoint_folder(model_dir, step)


def check_same(expected: Mapping, found: Mapping, source: str) -> None:
  """Checks that two parameter trees have the same names and shapes.

  Raises:
    ValueError: names the parameters that are missing, unknown or misshapen.
  """
  flatten = lambda tree: traverse_util.flatten_dict(tree, sep='/')
  expected, found = flatten(expected), flatten(found)
  missing = sorted(expected.keys() - found.keys())
  unknown = sorted(found.keys() - expected.keys())
  misshapen = [
    f'{path} {np.shape(found[path])} instead of {np.shape(expected[path])}'
    for path in sorted(expected.keys() & found.keys())
    if np.shape(found[path]) != np.shape(expected[path])
  ]
  if missing or unknown or misshapen:
    raise ValueError(
      f'{source} does not fit the model: missing {missing[:5]}, '
      f'unknown {unknown[:5]}, misshapen {misshapen[:5]}'
    )


def fingerprint(params: Mapping) -> str:
  """sha256 over the names, shapes and bytes of a parameter tree."""
  digest = hashlib.sha256()
  for path, x in sorted(traverse_util.flatten_dict(params, sep='/').items()):
    x = np.asarray(x, order='C')
    digest.update(f'{path}{x.shape}{x.dtype}'.encode())
    digest.update(x.data)
  return digest.hexdigest()


def save_adapter(model_dir: str, trained: Mapping, manifest: Mapping) -> pathlib.Path:
  """Writes the trained parameters alone, a few MB, with what they belong to.

  Args:
    model_dir: holds the `adapter` folder.
    trained: flat dict from parameter path to array.
    manifest: facts to store beside them; must hold `decoder_sha256`.

  Returns:
    The folder.
  """
  folder = pathlib.Path(model_dir) / 'adapter'
  folder.mkdir(parents=True, exist_ok=True)
  arrays = {path: np.asarray(x, order='C') for path, x in trained.items()}
  parameters = {path: list(x.shape) for path, x in arrays.items()}
  content = {**manifest, 'parameters': parameters}
  text = json.dumps(content, indent=2, sort_keys=True) + '\n'
  _replace(folder / 'adapter.safetensors', safetensors.save(arrays))
  _replace(folder / 'manifest.json', text.encode())
  return folder


def load_adapter(folder: str, decoder_sha256: str) -> dict:
  """Reads an adapter for a decoder.

  Args:
    folder: as `save_adapter` wrote it.
    decoder_sha256: `fingerprint` of the decoder that it is meant for.

  Returns:
    Flat dict from parameter path to array.

  Raises:
    ValueError: the adapter was trained with another decoder.
  """
  folder = pathlib.Path(folder)
  manifest = json.loads((folder / 'manifest.json').read_text())
  if manifest['decoder_sha256'] != decoder_sha256:
    raise ValueError(
      f'{folder}: the adapter was trained with the decoder of sha256 '
      f'{manifest["decoder_sha256"][:12]}…, but this decoder has '
      f'{decoder_sha256[:12]}…'
    )
  return safetensors.load_file(folder / 'adapter.safetensors')


def _replace(path: pathlib.Path, content: bytes) -> None:
  """Writes a file so that it is there whole or not at all."""
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_bytes(content)
  os.replace(temporary, path)
