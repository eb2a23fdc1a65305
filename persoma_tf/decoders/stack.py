"""The layers of a decoder-only model, scanned or unrolled.

Training scans over parameters that are stacked over the layers on a first axis. This
makes compilation short, and one policy decides which activations are stored for the
backward pass. Answering runs unrolled layers: at every token, a scan would slice each
layer's weights and keys out of their stack, which copies the whole model
(docs/speed.md).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax import Array

from persoma_tf.decoders.layers import recomputed

LAYERS = 'layers'  # attribute of a module that holds its layers


def make_layers(
  block: type[nn.Module],
  config: Any,
  length: int,
  *,
  remat: bool,
  unrolled: bool,
  each: int = 0,
  shared: int = 0,
):
  """Makes the submodules for the attribute `layers` of a module.

  Args:
    block: class of a layer that maps (x, cache of the layer, *each, *shared) to
      (x, cache).
    config: argument of the constructor of `block`.
    length: number of layers.
    remat: whether the backward pass recomputes all activations of a scanned layer.
    unrolled: whether to make one submodule per layer, `layers_0` and so on, instead of
      a scan.
    each: number of arguments with a value for each layer.
    shared: number of arguments with one value for all layers.
  """
  if unrolled:
    return [block(config) for _ in range(length)]
  return nn.scan(
    recomputed(block, whole=remat),
    variable_axes={'params': 0},
    split_rngs={'params': True},
    in_axes=(0,) * (1 + each) + (nn.broadcast,) * shared,
    length=length,
  )(config)


def run_layers(layers, x: Array, cache, each: Sequence[Array], *shared):
  """Runs all layers.

  Args:
    layers: submodules that `make_layers` has made.
    x: [B, S, D].
    cache: cache of all layers, stacked for a scan and a sequence for unrolled layers;
      or None.
    each: arguments with a value for each layer, on their first axis.
    *shared: arguments with one value for all layers.

  Returns:
    ([B, S, D], cache of all layers or None).
  """
  if not isinstance(layers, list | tuple):
    return layers(x, cache, *each, *shared)
  written = []
  for number, layer in enumerate(layers):
    own = None if cache is None else cache[number]
    x, seen = layer(x, own, *(values[number] for values in each), *shared)
    written.append(seen)
  return x, None if cache is None else tuple(written)


def stacked(
  names: Sequence[str],
  read: Callable[[str], np.ndarray],
  source: str | os.PathLike,
) -> np.ndarray:
  """Stacks one part of all layers on a first axis; one layer at a time is in memory.

  Args:
    names: names in the file, in the order of the layers.
    read: function from a name to the array of a layer.
    source: file or folder, for the message.

  Raises:
    ValueError: the layers have different shapes.
  """
  made = np.empty(0)
  for number, name in enumerate(names):
    array = read(name)
    if not number:
      made = np.empty((len(names), *array.shape), array.dtype)
    elif array.shape != made.shape[1:]:
      raise ValueError(
        f'{source}: {names[0]} and {name} have different shapes; expected one shape in '
        'all layers'
      )
    made[number] = array
  return made


def unrolled(module: nn.Module, params: Mapping) -> tuple[nn.Module, dict]:
  """Returns a model and its parameters with unrolled layers.

  Args:
    module: decoder module.
    params: parameters of the module; numpy arrays are not copied.

  Returns:
    (module, parameters); unchanged if the layers of the module are not scanned.
  """
  if not hasattr(module, 'unrolled') or module.unrolled:
    return module, dict(params)
  stacked = params[LAYERS]
  length = jax.tree.leaves(stacked)[0].shape[0]
  rest = {name: value for name, value in params.items() if name != LAYERS}
  layer = lambda number: jax.tree.map(lambda x: x[number], stacked)
  layers = {f'{LAYERS}_{number}': layer(number) for number in range(length)}
  return module.clone(unrolled=True), rest | layers
