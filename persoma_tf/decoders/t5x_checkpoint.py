"""Reads T5X checkpoints of T5X's encoder-decoder (`t5x.examples.t5.network`).

A `checkpoint_<step>` folder can have two layouts: Orbax (`state/`), or the layout of
the published T5X checkpoints. The latter is a msgpack file `checkpoint`, with the
small arrays and the location of each large array, and a zarr folder for each large
array.

The configuration is derived from the shapes of the arrays. Other settings are those of
T5X's own configurations of T5: ReLU or, if gated, tanh-approximated GELU times linear;
a maximum distance of 128 for the buckets; an epsilon of 1e-6 in the norms.
"""

import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorstore
from flax import serialization, traverse_util

from persoma_tf import model_files
from persoma_tf.decoders.t5 import T5Config, layout
from persoma_tf.parameters import checkpoints

_FLOATS = ('float32', 'bfloat16', 'float16', 'float64')


def is_t5x_checkpoint(folder: str) -> bool:
  """Tells whether a folder looks like a T5X checkpoint."""
  path = pathlib.Path(folder)
  return (path / 'state').is_dir() or (path / 'checkpoint').is_file()


def read_t5x_checkpoint(folder: str) -> tuple[T5Config, dict]:
  """Reads a model from a T5X checkpoint.

  Args:
    folder: path of a `checkpoint_<step>` folder.

  Returns:
    (configuration, parameters of `T5` as float32 numpy arrays).

  Raises:
    ValueError: a parameter is missing, unknown or of the wrong shape.
  """
  path = pathlib.Path(folder)
  if (path / 'state').is_dir():
    stored = traverse_util.flatten_dict(checkpoints.load_params(folder), sep='/')
  else:
    stored = _read_legacy(path)
  for name, x in stored.items():
    if np.dtype(x.dtype).name not in _FLOATS:
      raise ValueError(
        f'{folder}: parameter {name} has dtype {x.dtype}; expected one of {_FLOATS}'
      )
  arrays = {name: np.asarray(x, np.float32) for name, x in stored.items()}
  config = _config(arrays, folder)
  params = traverse_util.unflatten_dict(arrays, sep='/')
  checkpoints.check_same(layout(config), params, folder)
  return config, params


def _config(arrays: Mapping[str, np.ndarray], folder: str) -> T5Config:
  def shape(name):
    if name not in arrays or arrays[name].ndim != 2:
      reason = 'not a matrix' if name in arrays else 'missing'
      raise ValueError(
        f'{folder}: parameter {name} is {reason}; expected the parameters of '
        f't5x.examples.t5, found {sorted(arrays)[:5]}'
      )
    return arrays[name].shape

  layers = lambda stack: len(
    {match[0] for name in arrays if (match := re.match(rf'{stack}/layers_\d+/', name))}
  )
  vocab_size, d_model = shape('token_embedder/embedding')
  num_heads, num_buckets = shape('encoder/relpos_bias/rel_embedding')
  return T5Config(
    vocab_size=vocab_size,
    d_model=d_model,
    d_ff=shape('encoder/layers_0/mlp/wo/kernel')[0],
    num_heads=num_heads,
    head_dim=shape('encoder/layers_0/attention/query/kernel')[1] // num_heads,
    num_encoder_layers=layers('encoder'),
    num_decoder_layers=layers('decoder'),
    gated='encoder/layers_0/mlp/wi_0/kernel' in arrays,
    tied='decoder/logits_dense/kernel' not in arrays,
    num_buckets=num_buckets,
  )


def _read_legacy(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns {parameter path: array} of a checkpoint in the msgpack and zarr layout."""
  file = path / 'checkpoint'
  with model_files.reading(file, 'a checkpoint of T5X'):
    contents = dict(serialization.msgpack_restore(file.read_bytes()))
  version = contents.get('version')
  if version not in (2, 3):
    raise ValueError(f'{file}: version={version!r}; expected 2 or 3')
  is_leaf = lambda _, x: not isinstance(x, Mapping) or 'driver' in x
  target = traverse_util.flatten_dict(
    contents['optimizer']['target'], sep='/', is_leaf=is_leaf
  )
  arrays = {name: x for name, x in target.items() if not isinstance(x, Mapping)}
  # All arrays are opened at the same time, so that the waits for files overlap.
  opening = {
    name: tensorstore.open(_spec(path, x), open=True, read=True)
    for name, x in target.items()
    if name not in arrays
  }
  for name, future in opening.items():
    try:
      arrays[name] = _read(future.result())
    except ValueError as error:
      raise ValueError(f'{path}: cannot read parameter {name}: {error}') from error
  return arrays


def _spec(path: pathlib.Path, stored: Mapping[str, Any]) -> dict:
  """Returns the tensorstore spec of an array in a local checkpoint."""
  # The stored path is relative to the checkpoint. The stored kvstore driver is ignored:
  # it is that of the file system or bucket to which the checkpoint was written. Before
  # tensorstore 0.1.14 the path was not in 'kvstore'.
  place = path / (stored['kvstore'].get('path') or stored['path'])
  return {
    'driver': stored['driver'],
    'kvstore': {'driver': 'file', 'path': str(place.absolute())},
  }


def _read(store: tensorstore.TensorStore) -> np.ndarray:
  """Reads the array of a zarr folder.

  Raises:
    ValueError: a chunk is missing, or the dtype is not supported.
  """
  if store.dtype.name == 'uint16':
    raise ValueError(
      'dtype uint16, in which T5X stored bfloat16 until June 2021; expected a '
      'checkpoint that a later T5X has saved'
    )
  # Zarr reads a missing chunk as zeros, also one that was lost in a copy.
  chunks = zip(store.shape, store.chunk_layout.write_chunk.shape, strict=True)
  expected = math.prod(-(-size // chunk) for size, chunk in chunks)
  files = [x for x in store.kvstore.list().result() if not x.startswith(b'.')]
  if len(files) != expected:
    raise ValueError(f'{len(files)} chunks in its folder; expected {expected}')
  return store.read().result()
