"""Queries that are made from the texts of options: for options that training never saw.

An option's query is the vector of its text, of the encoder that made the vectors of the
interactions. Its gate opens for interactions whose text is like it. Only the scale and
the threshold of the likeness are learned, the same for all options: everything that is
learned of single options is worth nothing to others.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_EPSILON = 1e-6


class TextGates(nn.Module):
  """Computes gate logits from the cosine of an interaction's and an option's text.

  `vectors` [G, H'] and their origin `centre` [H'] are fixed: the training sets them
  (`persoma_tf.training.initial_adapter`), and `with_options` replaces the vectors.

  Attributes:
    num_options: G.
    text_width: H', length of a text's vector: the first components of an interaction's.
  """

  num_options: int
  text_width: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps standardized interaction vectors [..., H] to gate logits [..., G].

    Raises:
      ValueError: interactions have shorter vectors than options.
    """
    if x.shape[-1] < self.text_width:
      raise ValueError(
        f'vectors of interactions have {x.shape[-1]} components, those of the texts of '
        f'options {self.text_width}: expected both from the same encoder'
      )
    shape = (self.num_options, self.text_width)
    vectors = self.param('vectors', nn.initializers.normal(1.0), shape)
    centre = self.param('centre', nn.initializers.zeros, shape[1:])
    scale = self.param('scale', nn.initializers.constant(15.0), ())
    threshold = self.param('threshold', nn.initializers.constant(0.3), ())
    queries = _unit(jax.lax.stop_gradient(vectors - centre))
    return scale * (_unit(x[..., : self.text_width]) @ queries.T - threshold)


def _unit(x):
  return x / jnp.sqrt(jnp.sum(x**2, axis=-1, keepdims=True) + _EPSILON**2)


def with_options(draft: Mapping, vectors: np.ndarray, words: np.ndarray) -> dict:
  """Returns the parameters of a draft for other options.

  Args:
    draft: parameters of an `OptionQueries` whose queries are made from texts.
    vectors: [G, H'] vectors of the texts of the options.
    words: [W, D] embeddings of the words that can fill the slots.

  Raises:
    ValueError: the queries of this draft are learned.
  """
  if 'text_gates' not in draft:
    raise ValueError(
      'the queries of this model are learned, one for each option of its training: '
      'expected a recipe with adapters/options_from_texts.gin'
    )
  gates = {**draft['text_gates'], 'vectors': vectors}
  return {**draft, 'text_gates': gates, 'words': words}
