"""Checks of drafts about items, for the tests of each of them."""

import jax.numpy as jnp
import numpy as np


def check_hard_slot(made, applied):
  """Checks what stands in the slot of a draft with `hard`, and without it.

  Args:
    made: module with `hard`, parameters, history, mask and asked items.
    applied: function of a module and what it reads.
  """
  module, params, history, mask, asked = made
  given, own = jnp.array([[2], [0], [1]]), params['params']['words']
  for words in (None, given):
    soft = applied(module, params, history, mask, asked, None, words)
    best = soft.slot_logits.argmax(-1) if words is None else words
    np.testing.assert_allclose(soft.tokens[:, 2], own[best[:, 0]], atol=1e-6)
  mixed = [
    applied(module.clone(hard=False), params, history, mask, asked, None, words)
    for words in (None, given)
  ]
  np.testing.assert_array_equal(*(soft.tokens for soft in mixed))
