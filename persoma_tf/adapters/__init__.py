"""Adapters: Flax modules that read N history vectors.

An adapter is called as `adapter(history [B, N, H], mask [B, N])` and returns latents
`[B, K, A]` and their mask `[B, K]` bool. `persoma_tf.soft_prompt` turns latents into
soft tokens. Each adapter has a module of its own; the module `resampling` reduces N
items to K latents for all adapters. `option_queries` and `asked_item` make the draft of
an answer, and no latents.
"""

# All adapters are registered with gin: a study over them binds all their parameters.
from persoma_tf.adapters import (  # noqa: F401
  asked_item,
  mlp,
  option_queries,
  perceiver,
  transformer,
)
