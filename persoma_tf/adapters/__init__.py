"""Adapters: from N history vectors to K latent vectors, masked.

Every adapter is a Flax module called as `adapter(history [B, N, H], mask [B, N])`
and returns latents `[B, K, A]` and their mask `[B, K]` bool;
`persoma_tf.soft_prompt` reads soft tokens out of them. What an adapter does with
each item is in its file, how N become K in `resampling`.
"""

# A recipe of one may bind those of another, as a study over all of them does.
from persoma_tf.adapters import mlp, perceiver, transformer  # noqa: F401
