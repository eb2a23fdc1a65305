"""Losses of a batch, as sums and as numbers of terms."""

from collections.abc import Mapping

import jax.numpy as jnp
import optax
from jax import Array

from persoma_tf.model import Batch, Persoma


def loss_sums(
  model: Persoma,
  params: Mapping,
  batch: Batch,
  *,
  lm: bool = True,
  history: bool = True,
  teach: bool = False,
) -> dict[str, Array]:
  """Returns the losses of a batch, each a float32 scalar, summed over its terms.

  Args:
    model: the model.
    params: {'adapter': ..., 'decoder': ...}; without `lm` the decoder may be missing.
    batch: features of `HistoryFeatureConverter`, each [B, ...].
    lm: whether to compute 'lm_loss', the negative log-likelihood (nats) of the target
      tokens. The decoder runs only for this loss.
    teach: see `Persoma.target_logits`.
    history: whether to compute the losses that supervise the soft prompt without the
      decoder, if model and batch have what they need: 'slot_loss', the cross-entropy
      (nats) of the words in the slots; 'statistics_loss', the squared error of the
      history statistics; 'category_loss', the cross-entropy (nats) of the categories
      of known interactions, and 'value_loss', the squared error of their values. If
      user tokens and draft both predict them, each is the sum of both losses, so that
      both train as they would alone.

  Raises:
    ValueError: the adapter predicts another number of categories than the data have.
  """
  sums = {}
  if lm:
    logits = model.apply({'params': params}, batch, teach, method=Persoma.target_logits)
    losses = optax.softmax_cross_entropy_with_integer_labels(
      logits.astype(jnp.float32), batch['decoder_target_tokens']
    )
    sums['lm_loss'] = jnp.sum(losses * batch['decoder_loss_weights'])
  if not history:
    return sums
  arguments = batch['history_embeddings'], batch['history_mask']
  known = batch.get('known_embeddings')
  soft = model.apply({'params': params}, *arguments, known, method=Persoma.soft_prompt)
  if soft.slot_logits is not None:
    losses = optax.softmax_cross_entropy_with_integer_labels(
      soft.slot_logits, batch['answer_slots']
    )
    sums['slot_loss'] = jnp.sum(losses)
  if soft.statistics is not None:
    sums['statistics_loss'] = _squared(soft.statistics, batch['history_statistics'])
  if soft.categories is not None:
    sums |= _item_loss_sums(model.adapter.num_categories, soft, batch)
  return sums


def _item_loss_sums(num_categories, soft, batch):
  """Returns the losses of the categories and values of known interactions."""
  categories, values = batch['known_categories'], batch['known_values']
  if num_categories not in (0, categories.shape[-1]):
    raise ValueError(
      f'build.num_categories={num_categories}, but the interactions of '
      f'the data have {categories.shape[-1]} categories'
    )
  predictions = soft.values.shape[1] // values.shape[1]  # of user tokens and draft
  each = lambda x: jnp.concatenate([x] * predictions, axis=1)
  losses = optax.sigmoid_binary_cross_entropy(soft.categories, each(categories))
  value_loss = _squared(soft.values, each(values))
  return {'category_loss': jnp.sum(losses), 'value_loss': value_loss}


def _squared(found: Array, targets: Array) -> Array:
  """Sums squared errors; nan among the targets stands for missing values."""
  targets = jnp.where(jnp.isfinite(targets), targets, found)
  return jnp.sum((found - targets) ** 2)


def loss_counts(batch: Batch) -> dict[str, Array]:
  """Returns the number of terms in each loss of a batch, at least 1.

  The terms are target tokens, slots, known statistics, known interactions, and known
  values.
  """
  counts = {'lm_loss': jnp.sum(batch['decoder_loss_weights'])}
  if 'answer_slots' in batch:
    counts['slot_loss'] = jnp.float32(batch['answer_slots'].size)
    counts['statistics_loss'] = jnp.sum(jnp.isfinite(batch['history_statistics']))
  if 'known_values' in batch:
    counts['category_loss'] = jnp.float32(batch['known_values'].size)
    counts['value_loss'] = jnp.sum(jnp.isfinite(batch['known_values']))
  return {name: jnp.maximum(count, 1) for name, count in counts.items()}


def mean_losses(
  model: Persoma, params: Mapping, batch: Batch, **which: bool
) -> dict[str, Array]:
  """Returns `loss_sums` divided by `loss_counts`."""
  counts = loss_counts(batch)
  sums = loss_sums(model, params, batch, **which)
  return {name: total / counts[name] for name, total in sums.items()}
