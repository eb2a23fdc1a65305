"""Adds LoRA: low-rank updates of frozen matrices (Hu et al. 2021, arXiv 2106.09685).

A matrix `kernel` [in, out] with the parameters `lora_a` [in, r], `lora_b` [r, out] and
`lora_scale` next to it acts as kernel + lora_scale * lora_a @ lora_b. The parameter
tree alone decides whether LoRA is on: `add_lora` adds the three parameters,
`merge_lora` removes them, and `Dense` uses them if they are present.
"""

import re
from collections.abc import Iterable, Mapping

import flax.linen as nn
import gin
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import Array

from persoma_tf import products
from persoma_tf.setting_types import Positive

_ATTENTION = r'.*/(query|key|value|out)/kernel'
_MLP = r'(.*/)?(gate|up|down|wi|wi_0|wi_1|wo)/kernel'
# Name -> matrices of a layer.
TARGETS = {
  'query_value': r'.*/(query|value)/kernel',  # of the paper
  'attention': _ATTENTION,
  'mlp': _MLP,
  'all': f'{_ATTENTION}|{_MLP}',
}


class Dense(nn.Module):
  """Multiplies by a float or int8 matrix, and applies its LoRA update.

  The product lora_a @ lora_b is never computed: x is multiplied by one factor after the
  other. The gradient then costs O(in r + r out) per position, and the kernel needs no
  gradient.
  """

  features: int
  has_bias: bool = False

  @property
  def operand_type(self) -> jnp.dtype:
    """Returns the type of the operands; must be read after the product."""
    return products.operand_type(self.variables['params']['kernel'])

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., in] of a float type to [..., features] float32."""
    shape = (x.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.normal(0.02), shape)
    # `persoma_tf.parameters.quantization` adds the scale of an int8 kernel.
    if self.has_variable('params', 'kernel_scale'):
      scale = self.get_variable('params', 'kernel_scale')
      y = products.matmul(x, kernel.astype(products.operand_type(kernel))) * scale
    else:
      y = products.matmul(x, kernel)
    if self.has_variable('params', 'lora_a'):
      read = lambda name: self.get_variable('params', name)
      low = products.matmul(products.matmul(x, read('lora_a')), read('lora_b'))
      y = y + low * read('lora_scale')
    if self.has_bias:
      y = y + self.param('bias', nn.initializers.zeros, (self.features,))
    return y


@gin.configurable('lora', denylist=['params', 'seed'])
def add_lora(
  params: Mapping,
  seed: int,
  rank: Positive = 8,
  alpha: float = 16.0,
  targets: str | Iterable[str] = 'query_value',
) -> dict:
  """Adds fresh LoRA parameters to the matching kernels; the outputs stay the same.

  Args:
    params: parameters of a decoder; a kernel may be stacked, [layers, in, out].
    seed: seed of `lora_a`, which is uniform as in the authors' code; `lora_b` is zero.
    rank: r.
    alpha: numerator of `lora_scale`, which is alpha / r.
    targets: names in TARGETS: 'query_value', 'attention', 'mlp' or 'all'; or regular
      expressions, each matched against whole paths such as
      'layers/attention/query/kernel'. One of them may stand alone.

  Raises:
    ValueError: a pattern matches no kernel, or a parameter that is not a matrix.
  """
  flat = traverse_util.flatten_dict(params, sep='/')
  rng, added = np.random.default_rng(seed), {}
  for target in (targets,) if isinstance(targets, str) else targets:
    pattern = TARGETS.get(target, target)
    paths = [path for path in flat if re.fullmatch(pattern, path)]
    if not paths:
      kernels = sorted(path for path in flat if path.endswith('/kernel'))
      raise ValueError(
        f'lora.targets: {target!r} is none of {[*TARGETS]} and matches none of '
        f'{kernels[:8]}'
      )
    for path in paths:
      parent, _, name = path.rpartition('/')
      if name != 'kernel' or np.ndim(flat[path]) not in (2, 3):
        raise ValueError(f'lora.targets: {target!r} matches {path}, not a matrix')
      *stack, size, features = np.shape(flat[path])
      bound = 1 / np.sqrt(size)
      a = rng.uniform(-bound, bound, (*stack, size, rank))
      added[f'{parent}/lora_a'] = a.astype(np.float32)
      added[f'{parent}/lora_b'] = np.zeros((*stack, rank, features), np.float32)
      added[f'{parent}/lora_scale'] = np.full(stack, alpha / rank, np.float32)
  return traverse_util.unflatten_dict({**flat, **added}, sep='/')


def merge_lora(params: Mapping) -> dict:
  """Adds every LoRA update to its kernel and removes the LoRA parameters."""
  flat = traverse_util.flatten_dict(params, sep='/')
  merged = {path: x for path, x in flat.items() if '/lora_' not in path}
  for path in flat:
    if path.endswith('/lora_a'):
      parent = path.removesuffix('/lora_a')
      scale = jnp.asarray(flat[f'{parent}/lora_scale'])[..., None, None]
      update = scale * jnp.matmul(flat[path], flat[f'{parent}/lora_b'])
      merged[f'{parent}/kernel'] = np.asarray(flat[f'{parent}/kernel'] + update)
  return traverse_util.unflatten_dict(merged, sep='/')
