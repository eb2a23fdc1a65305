"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864) and its scalings.

A scaling changes the frequencies of a trained model, so that it reads longer texts than
those of its first training. The formulas are those of transformers
(`modeling_rope_utils`).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array


class Rotation(NamedTuple):
  """Describes the rotation of queries and keys.

  Attributes:
    frequencies: head_dim / 2 angles, in radians a position.
    scale: factor of queries and keys.
  """

  frequencies: tuple[float, ...]
  scale: float = 1.0

  def turns(self, positions: Array, end: int) -> tuple[Array, Array]:
    """Returns sines and cosines [B, S, head_dim / 2] float32 of positions [B, S].

    They are of a table: XLA would compute them in each layer again, for each head.

    Args:
      positions: int32, below `end`.
      end: number of positions in the table.
    """
    angles = np.arange(end, dtype=np.float32)[:, None] * np.float32(self.frequencies)
    tables = np.sin(angles), np.cos(angles)
    return tuple(jnp.asarray(x * np.float32(self.scale))[positions] for x in tables)


def rotate(x: Array, turns: tuple[Array, Array]) -> Array:
  """Rotates component i of the first half of a head with component i of the second.

  Args:
    x: [B, S, heads, head_dim], any float type.
    turns: sines and cosines [B, S, head_dim / 2].

  Returns:
    [B, S, heads, head_dim] float32.
  """
  sin, cos = (turn[:, :, None] for turn in turns)
  first, second = jnp.split(x, 2, axis=-1)
  return jnp.concatenate(
    [first * cos - second * sin, second * cos + first * sin], axis=-1
  )


def unscaled(base: float, head_dim: int) -> Rotation:
  """Returns the rotation of the paper.

  Args:
    base: base of the wavelengths.
    head_dim: width of a head.
  """
  return Rotation(tuple(_frequencies(base, head_dim).tolist()))


def no_rotation(head_dim: int) -> Rotation:
  """Returns the rotation of a layer that does not know positions."""
  return Rotation((0.0,) * (head_dim // 2))


def divided(base: float, head_dim: int, factors: np.ndarray) -> Rotation:
  """Returns a rotation of which each frequency is divided by its own factor.

  Args:
    base: base of the wavelengths.
    head_dim: width of a head.
    factors: [head_dim / 2].
  """
  return Rotation(tuple((_frequencies(base, head_dim) / factors).tolist()))


def scaled(base: float, head_dim: int, scaling: Mapping[str, Any]) -> Rotation:
  """Returns the rotation that a model's settings describe.

  Args:
    base: base of the wavelengths.
    head_dim: width of a head.
    scaling: `rope_type` ('default', 'linear', 'llama3' or 'yarn') and what this type
      needs, by the names in a config.json.

  Raises:
    ValueError: the type is unknown, or a field is missing or no number.
  """
  kind = scaling.get('rope_type') or scaling.get('type') or 'default'
  kinds = {'linear': _linear, 'llama3': _llama3, 'yarn': _yarn}
  if kind == 'default':
    return unscaled(base, head_dim)
  if kind not in kinds:
    raise ValueError(
      f'rope_type={kind!r}; expected one of {["default", *kinds]}; other scalings of '
      'rotary embeddings are not computed'
    )
  frequencies = _frequencies(base, head_dim)
  try:
    frequencies, scale = kinds[kind](frequencies, base, scaling)
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'rope_type={kind!r} with {dict(scaling)}: a number is missing or wrong: {error}'
    ) from error
  return Rotation(tuple(frequencies.tolist()), scale)


def _frequencies(base, head_dim):
  half = head_dim // 2
  return float(base) ** (-np.arange(half) / half)


def _linear(frequencies, base, scaling):
  return frequencies / scaling['factor'], 1.0


def _llama3(frequencies, base, scaling):
  low, high = scaling['low_freq_factor'], scaling['high_freq_factor']
  # Turns of a frequency within the length of the first training.
  turns = scaling['original_max_position_embeddings'] * frequencies / (2 * math.pi)
  smooth = np.clip((turns - low) / (high - low), 0, 1)
  return frequencies * (smooth + (1 - smooth) / scaling['factor']), 1.0


def _yarn(frequencies, base, scaling):
  """Scales as YaRN (Peng et al. 2023, arXiv 2309.00071)."""
  factor, trained = scaling['factor'], scaling['original_max_position_embeddings']
  half = len(frequencies)

  def place(turns):
    """Returns the place of the frequency that makes so many turns in the training."""
    return half * math.log(trained / (turns * 2 * math.pi)) / math.log(base)

  low = place(scaling.get('beta_fast') or 32)
  high = place(scaling.get('beta_slow') or 1)
  if scaling.get('truncate', True):
    low, high = math.floor(low), math.ceil(high)
  low, high = max(low, 0), min(high, 2 * half - 1)
  slow = np.clip((np.arange(half) - low) / max(high - low, 1e-3), 0, 1)
  scale = scaling.get('attention_factor')
  if scale is None:
    size = lambda by: 0.1 * by * math.log(factor) + 1 if factor > 1 else 1.0
    by, by_all = scaling.get('mscale'), scaling.get('mscale_all_dim')
    scale = size(by) / size(by_all) if by and by_all else size(1)
  return frequencies * (1 - slow + slow / factor), float(scale)
