"""Reads and writes checkpoints in the layout of T5X, and adapters without a decoder.

    model_dir/checkpoint_<step>/state      {'target': params, 'state': {'step': ...}}
    model_dir/checkpoint_<step>/optimizer  the native trainer's optimizer state
    model_dir/adapter/                     adapter.safetensors, manifest.json

A checkpoint gets its name only after it is complete. Those of the native trainer have
what it trains; those of T5X, and for T5X, have all parameters of the model.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Container, Mapping, Set
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util
from safetensors import numpy as safetensors

_ITEMS = ('state', 'optimizer')


def manager(model_dir: str, keep: int | None = 1) -> ocp.CheckpointManager:
  """Returns an Orbax manager of `checkpoint_<step>` folders.

  Args:
    model_dir: folder of the checkpoints.
    keep: number of newest checkpoints to keep; None keeps all.
  """
  options = ocp.CheckpointManagerOptions(
    step_prefix='checkpoint', max_to_keep=keep, enable_async_checkpointing=False
  )
  folder = pathlib.Path(model_dir).absolute()
  return ocp.CheckpointManager(folder, item_names=_ITEMS, options=options)


def save(
  checkpoints: ocp.CheckpointManager, step: int, params: Mapping, optimizer: Any
) -> None:
  """Writes `checkpoint_<step>`; returns after it is on disk.

  Args:
    checkpoints: manager that `manager` returned.
    step: number of finished steps.
    params: {'adapter': ..., 'decoder': ...}, or a part of it.
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
  """Deletes all checkpoints except the steps in `keep`."""
  for step in checkpoints.all_steps():
    if step not in keep:
      checkpoints.delete(step)


def load_params(checkpoint_dir: str) -> dict:
  """Reads the parameters of one `checkpoint_<step>` folder as numpy arrays.

  PERSOMA or T5X may have written the checkpoint, on any devices. The optimizer state is
  not read.

  Raises:
    FileNotFoundError: the folder has no Orbax `state` folder.
  """
  state = pathlib.Path(checkpoint_dir).absolute() / 'state'
  if not state.exists():
    raise FileNotFoundError(f'{checkpoint_dir}: no Orbax state/ folder in it')
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
    stored = {'target': reader.metadata(state).item_metadata.tree['target']}
    shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    plain = ocp.RestoreArgs(restore_type=np.ndarray)
    options = ocp.args.PyTreeRestore(
      item=jax.tree.map(shape, stored),
      restore_args=jax.tree.map(lambda _: plain, stored),
      partial_restore=True,
    )
    return reader.restore(state, args=options)['target']


def load_optimizer(checkpoint_dir: str, like: Any) -> Any:
  """Reads the optimizer state of a native checkpoint.

  Args:
    checkpoint_dir: `checkpoint_<step>` folder.
    like: optimizer state with the structure and shapes that are expected.

  Raises:
    ValueError: the checkpoint has another optimizer or other trained parameters.
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
  """Returns the path of `checkpoint_<step>`."""
  return str(pathlib.Path(model_dir) / f'checkpoint_{step}')


def latest(model_dir: str) -> str:
  """Returns the path of the newest finished checkpoint.

  Raises:
    FileNotFoundError: the folder has no finished checkpoint.
  """
  step = manager(model_dir).latest_step()
  if step is None:
    raise FileNotFoundError(f'{model_dir}: no checkpoint_<step> folder in it')
  return checkpoint_folder(model_dir, step)


def check_same(expected: Mapping, found: Mapping, source: str) -> None:
  """Checks that two parameter trees have the same names and shapes.

  Args:
    expected: parameters of the model.
    found: parameters of the source.
    source: name of the source, for the error message.

  Raises:
    ValueError: a parameter is missing or unknown, or has another shape; the message
      names up to five of each.
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


def check_frozen(
  checkpoint: str, found: Mapping, start: Mapping, trained: Set[str]
) -> None:
  """Checks that a checkpoint has the decoder's own values where nothing trains.

  Args:
    checkpoint: path of the checkpoint, for the error message.
    found: parameters of the decoder in the checkpoint.
    start: parameters of the decoder before the training, of the same names and shapes.
    trained: paths of the parameters that train, such as 'decoder/layers/up/kernel'.

  Raises:
    ValueError: another parameter differs.
  """
  flatten = lambda tree: traverse_util.flatten_dict({'decoder': tree}, sep='/')
  found, start = flatten(found), flatten(start)
  for path in sorted(start.keys() - trained):
    if not np.array_equal(found[path], start[path]):
      raise ValueError(
        f'{checkpoint}: {path} differs from the decoder of the recipe, and this recipe '
        'does not train it: give the decoder that the checkpoint was trained with, or '
        "the tuning of its training, such as train.tuning='full'"
      )


def fingerprint(params: Mapping) -> str:
  """Returns the sha256 of the names, shapes and float32 values of a parameter tree.

  The type in which a file stores them does not count.
  """
  digest = hashlib.sha256()
  for path, x in sorted(traverse_util.flatten_dict(params, sep='/').items()):
    x = np.asarray(x, np.float32, order='C')
    digest.update(f'{path}{x.shape}{x.dtype}'.encode())
    digest.update(x.data)
  return digest.hexdigest()


def save_adapter(model_dir: str, trained: Mapping, manifest: Mapping) -> pathlib.Path:
  """Writes the trained parameters (a few MB) and their manifest.

  Args:
    model_dir: parent of the `adapter` folder.
    trained: flat dict from parameter path to array.
    manifest: facts for `manifest.json`; must have `decoder_sha256`.

  Returns:
    Path of the `adapter` folder.
  """
  folder = pathlib.Path(model_dir) / 'adapter'
  folder.mkdir(parents=True, exist_ok=True)
  arrays = {path: np.asarray(x, order='C') for path, x in trained.items()}
  parameters = {path: list(x.shape) for path, x in arrays.items()}
  content = {**manifest, 'parameters': parameters}
  text = json.dumps(content, indent=2, sort_keys=True) + '\n'
  replace_file(folder / 'adapter.safetensors', safetensors.save(arrays))
  replace_file(folder / 'manifest.json', text.encode())
  return folder


def adapter_manifest(folder: str) -> dict[str, Any]:
  """Returns the manifest of a folder that `save_adapter` wrote."""
  return json.loads((pathlib.Path(folder) / 'manifest.json').read_text())


def load_adapter(folder: str, decoder_sha256: str) -> dict:
  """Reads an adapter for a decoder.

  Args:
    folder: folder that `save_adapter` wrote.
    decoder_sha256: `fingerprint` of the decoder.

  Returns:
    Flat dict from parameter path to array.

  Raises:
    ValueError: the adapter was trained with another decoder.
  """
  folder, manifest = pathlib.Path(folder), adapter_manifest(folder)
  if manifest['decoder_sha256'] != decoder_sha256:
    raise ValueError(
      f'{folder}: the adapter was trained with the decoder of sha256 '
      f'{manifest["decoder_sha256"][:12]}…, but this decoder has '
      f'{decoder_sha256[:12]}…'
    )
  return safetensors.load_file(folder / 'adapter.safetensors')


def replace_file(path: pathlib.Path, content: bytes) -> None:
  """Writes a file atomically: readers see the whole file or none."""
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_bytes(content)
  os.replace(temporary, path)
