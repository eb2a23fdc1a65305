"""Configurations of small decoders, as the readers of two families make them."""

from persoma_tf.decoders import rotary
from persoma_tf.decoders.causal_lm import CausalLm, Config, LayerKind


def llama(num_layers: int, d_model: int, num_heads: int, **fields) -> Config:
  """A Llama; `fields` are further ones of `Config`."""
  head_dim = d_model // num_heads
  kind = LayerKind(rotary.unscaled(10_000.0, head_dim))
  own = {'head_dim': head_dim, 'layers': (kind,) * num_layers}
  return Config('llama', d_model=d_model, num_heads=num_heads, **own | fields)


def gemma(
  num_layers: int, d_model: int, head_dim: int, window: int, base: float = 1e6, **fields
) -> Config:
  """A Gemma 3 whose every sixth layer is global."""
  local = LayerKind(rotary.unscaled(10_000.0, head_dim), window)
  everything = LayerKind(rotary.unscaled(base, head_dim))
  layers = tuple(local if x % 6 else everything for x in range(1, num_layers + 1))
  own = {
    'norm_epsilon': 1e-6,
    'query_key_norm': True,
    'sandwich_norms': True,
    'activation': 'gelu_tanh',
    'embedding_scale': d_model**0.5,
  }
  shape = {'d_model': d_model, 'head_dim': head_dim, 'layers': layers}
  return Config('gemma3_text', **shape, **own | fields)


__all__ = ['CausalLm', 'gemma', 'llama']
