"""Adapters: from N history vectors to K latent vectors, masked.

Every adapter is a Flax module called as `adapter(history [B, N, H], mask [B, N])`
and returns `[B, K, A]`; `persoma_tf.soft_prompt` reads soft tokens out of it.
"""
