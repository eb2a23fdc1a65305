"""Several ways to go on with a text, side by side: none of them sees another.

They stand one behind the other in one row, and a mask keeps them apart. So all of them
read one copy of the cache with the text before them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def keep_apart(number: int, length: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns places and mask of C branches of M tokens, S = C M, branch after branch.

  Args:
    number: C.
    length: M.

  Returns:
    ([S] int32 place of each token in its branch, [S, S] bool, True where a token may
    read another one: itself and those before it in its branch).
  """
  places = np.tile(np.arange(length, dtype=np.int32), number)
  causal = np.tril(np.ones((length, length), bool))
  return places, np.kron(np.eye(number, dtype=bool), causal)


def with_room(layers, size: int):
  """Returns keys and values [..., P, heads, head_dim] with `size` more positions."""
  pad = lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(0, size), (0, 0), (0, 0)])
  return jax.tree.map(pad, layers)


def mask_of(readable: Array, own: np.ndarray) -> Array:
  """Returns the mask [B, S, P + S] of branches behind P positions of a cache.

  Args:
    readable: [B, P] bool, True for positions that hold a token.
    own: [S, S] bool, the mask of `keep_apart`.
  """
  rows, size = len(readable), len(own)
  before = jnp.broadcast_to(readable[:, None], (rows, size, readable.shape[1]))
  return jnp.concatenate([before, jnp.broadcast_to(own, (rows, size, size))], axis=2)
