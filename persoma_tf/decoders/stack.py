"""The layers of a decoder-only model: one scan over all, or one after the other.

Training scans, for which the parameters of all layers lie stacked on a first axis:
compilation is short, and the backward pass has one place to say what it keeps.
Answering does not: a scan takes each layer's weights and keys out of their stack at
every token, a copy of the whole model (docs/speed.md).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from jax import Array

from persoma_tf.decoders.layers import recomputed

LAYERS = 'layers'  # where a module has its stack


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
  """Submodules for the attribute `layers` of a module.

  Args:
    block: maps (x, this layer's cache, *each, *shared) to (x, cache).
    config: what a block is made with.
    length: number of layers.
    remat: whether the backward pass computes a scanned layer anew as a whole.
    unrolled: one submodule a layer, `layers_0` and so on, instead of a scan.
    each: number of arguments that differ from layer to layer.
    shared: number of those that do not.
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
  """Runs a stack.

  Args:
    layers: as `make` gave them.
    x: [B, S, D].
    cache: of all layers, stacked for a scan and else a sequence; or None.
    each: arguments whose first axis is that of the layers.
    *shared: the other arguments.

  Returns:
    ([B, S, D], the cache of all layers).
  """
  if not isinstance(layers, list | tuple):
    return layers(x, cache, *each, *shared)
  written = []
  for number, layer in enumerate(layers):
    own = None if cache is None else cache[number]
    x, seen = layer(x, own, *(values[number] for values in each), *shared)
    written.append(seen)
  return x, None if cache is None else tuple(written)


def unrolled(module: nn.Module, params: Mapping) -> tuple[nn.Module, dict]:
  """The same model with its layers one after the other.

  Args:
    module: a decoder.
    params: its parameters; they are not copied where they are numpy arrays.

  Returns:
    (module, parameters); both as given where the module has no stack.
  """
  if not hasattr(module, 'unrolled') or module.unrolled:
    return module, dict(params)
  stacked = params[LAYERS]
  length = jax.tree.leaves(stacked)[0].shape[0]
  rest = {name: value for name, value in params.items() if name != LAYERS}
  one = lambda number: jax.tree.map(lambda x: x[number], stacked)
  layers = {f'{LAYERS}_{number}': one(number) for number in range(length)}
  return module.clone(unrolled=True), rest | layers
