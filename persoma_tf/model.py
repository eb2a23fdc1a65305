"""PERSOMA: soft prompt, task prompt and target through one frozen decoder.

The sequence is [K soft tokens ; T task prompt ; L target]. The start token that SeqIO
puts before the task prompt is not shown to the decoder: SmolLM2 was trained to forget
what stands before it. Parameters lie under 'adapter' (everything that makes the soft
prompt) and 'decoder'.
"""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from persoma_tf import decoders
from persoma_tf.soft_prompt import SLOT, SoftPrompt, SoftTokens

Batch = Mapping[str, Array]


@gin.configurable
def build(
  resampler: nn.Module = gin.REQUIRED,
  readout: nn.Module = gin.REQUIRED,
  decoder: str = gin.REQUIRED,
  num_statistics: int = 0,
) -> 'tuple[Persoma, decoders.Decoder]':
  """The model of a recipe, and the decoder with its weights.

  Args:
    resampler: see `SoftPrompt`.
    readout: see `SoftPrompt`.
    decoder: name of a decoder (`persoma_tf.decoders`).
    num_statistics: see `SoftPrompt`.
  """
  loaded = decoders.load(decoder)
  adapter = SoftPrompt(resampler, readout, loaded.width, num_statistics)
  return Persoma(adapter, loaded.module), loaded


class Persoma(nn.Module):
  """The trained part and the frozen part, side by side.

  Attributes:
    adapter: makes the soft prompt.
    decoder: frozen language model with `embed`, `hidden` and `logits`
      (`persoma_tf.decoders`).
  """

  adapter: SoftPrompt
  decoder: nn.Module

  def soft_prompt(self, history: Array, mask: Array) -> SoftTokens:
    """Soft prompts of histories [B, N, H] with mask [B, N]."""
    return self.adapter(history, mask)

  def target_logits(self, batch: Batch, target_length: int) -> tuple[Array, Array]:
    """Logits where the loss is, and nowhere else.

    Args:
      batch: features of `HistoryPrefixLM`, each [B, ...].
      target_length: L, the most target tokens a row can have.

    Returns:
      logits [B, L, V] that predict the targets, and the rows' column numbers
      [B, L] in `decoder_target_tokens` that they belong to.
    """
    soft = self.adapter(batch['history_embeddings'], batch['history_mask']).tokens
    tokens = self.decoder.embed(batch['decoder_input_tokens'][:, 1:])
    sequence = jnp.concatenate([soft, tokens], axis=1)
    shape = sequence.shape[:2]
    positions = jnp.broadcast_to(jnp.arange(shape[1]), shape)
    # Padding stands on the right, where causal attention never looks back from.
    hidden = self.decoder.hidden(sequence, positions, jnp.ones(shape, bool))
    first = jnp.argmax(batch['decoder_loss_weights'] > 0, axis=1)
    columns = first[:, None] + jnp.arange(target_length)
    columns = jnp.minimum(columns, tokens.shape[1])
    at_targets = (columns - 1 + soft.shape[1])[..., None]
    return self.decoder.logits(jnp.take_along_axis(hidden, at_targets, 1)), columns

  def embed(self, tokens: Array) -> Array:
    """Decoder's `embed`."""
    return self.decoder.embed(tokens)

  def logits(self, hidden: Array) -> Array:
    """Decoder's `logits`."""
    return self.decoder.logits(hidden)

  def prefill(self, embeddings: Array, positions: Array, size: int):
    """Decoder's `prefill`."""
    return self.decoder.prefill(embeddings, positions, size)

  def step(self, embeddings: Array, positions: Array, cache, index: Array):
    """Decoder's `step`."""
    return self.decoder.step(embeddings, positions, cache, index)

  def __call__(self, batch: Batch, target_length: int) -> Array:
    """Runs every part once, for initialization; returns the logits [B, L, V]."""
    return self.target_logits(batch, target_length)[0]


def lm_loss(model: Persoma, params: Mapping, batch: Batch, target_length: int) -> Array:
  """Mean negative log-likelihood (nats) of a target token, targets only; scalar."""
  variables = {'params': params}
  logits, columns = model.apply(
    variables, batch, target_length, method=Persoma.target_logits
  )
  targets = jnp.take_along_axis(batch['decoder_target_tokens'], columns, 1)
  # `columns` repeats the last one where a row is short: count each column once.
  fresh = jnp.diff(columns, axis=1, prepend=-1) > 0
  weights = jnp.take_along_axis(batch['decoder_loss_weights'], columns, 1) * fresh
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
  return jnp.sum(losses * weights) / jnp.maximum(jnp.sum(weights), 1)


def history_losses(model: Persoma, params: Mapping, batch: Batch) -> dict[str, Array]:
  """Supervision of the soft prompt that never runs the decoder.

  Returns:
    'slot_loss', mean cross-entropy (nats) of the word that each soft token should
    stand for, and 'statistics_loss', mean squared error of the history statistics,
    over those that are numbers; scalars. Either is absent where the model does not
    predict it.
  """
  soft = model.apply(
    {'params': params},
    batch['history_embeddings'],
    batch['history_mask'],
    method=Persoma.soft_prompt,
  )
  losses = {}
  if soft.slot_logits is not None:
    losses['slot_loss'] = optax.softmax_cross_entropy_with_integer_labels(
      soft.slot_logits, batch['answer_slots']
    ).mean()
  if soft.statistics is not None:
    known = jnp.isfinite(batch['history_statistics'])
    targets = jnp.where(known, batch['history_statistics'], soft.statistics)
    squares = jnp.sum((soft.statistics - targets) ** 2)
    losses['statistics_loss'] = squares / jnp.maximum(jnp.sum(known), 1)
  return losses


def init_adapter(
  model: Persoma,
  decoder_params: Mapping,
  batch: Batch,
  words: Sequence[Sequence[int]] | None,
  seed: int,
) -> dict:
  """Fresh adapter parameters that know the decoder and the data they start from.

  Args:
    model: the model.
    decoder_params: the decoder's parameters.
    batch: some training rows; `Standardize` is measured on their interactions.
    words: token ids of each of the W answer words; their mean token embedding is
      where the word vectors of `TemplateReadout` start. None for other readouts.
    seed: of the random parameters.

  Returns:
    The parameter tree under 'adapter'.
  """
  history, mask = (np.asarray(batch[f'history_{x}']) for x in ('embeddings', 'mask'))
  params = model.adapter.init(jax.random.key(seed), history[:1], mask[:1])['params']
  params = jax.tree.map(np.asarray, params)
  real = history[mask > 0]
  # One scale for all components: rare but telling ones must not be blown up.
  params['standardize']['mean'] = real.mean(0)
  params['standardize']['scale'] = np.full(real.shape[-1], real.std(0).mean())
  table = np.asarray(decoder_params['embedder']['embedding'])
  params['token_rms'] = np.sqrt(np.mean(table**2))
  if words is not None:
    fixed = [token for token in model.adapter.readout.layout if token != SLOT]
    params['readout']['words'] = np.stack([table[ids].mean(0) for ids in words])
    params['readout']['template'] = table[fixed]
  return jax.tree.map(lambda x: np.asarray(x, np.float32), params)
