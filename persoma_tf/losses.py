"""Losses of a batch, as sums and as numbers of terms."""

from collections.abc import Collection, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from persoma_tf.model import Batch, Persoma, adapter_inputs

_NO_TOKEN = -1
_IMPOSSIBLE = 1e-9


def loss_sums(
  model: Persoma,
  params: Mapping,
  batch: Batch,
  *,
  lm: bool = True,
  history: bool = True,
  teach: bool = False,
  soft_targets: float = 0.0,
  options: np.ndarray | None = None,
) -> dict[str, Array]:
  """Returns the losses of a batch, each a float32 scalar, summed over its terms.

  Args:
    model: the model.
    params: {'adapter': ..., 'decoder': ...}; without `lm` the decoder may be missing.
    batch: features of `HistoryFeatureConverter`, each [B, ...].
    lm: whether to compute 'lm_loss', the negative log-likelihood (nats) of the target
      tokens. The decoder runs only for this loss.
    teach: see `Persoma.target_logits`.
    soft_targets: share of the draft in the targets of 'lm_loss', see `Stage`.
    options: what `option_tokens` returns; without it the answers are the targets.
    history: whether to compute the losses that supervise the soft prompt without the
      decoder, if model and batch have what they need: 'slot_loss', the cross-entropy
      (nats) of the words in the slots; 'statistics_loss', the squared error of the
      history statistics; 'category_loss', the cross-entropy (nats) of the categories
      of known interactions, and 'value_loss', the squared error of their values. If
      several parts predict them, such as user tokens and draft, each is the sum of
      their losses, so that all train as they would alone.

  Of a model that answers several questions, 'lm_loss' and 'slot_loss' are those of
  each, by the name 'slot_loss/<question>'. Slots with the label -1 do not count.

  Raises:
    ValueError: the adapter predicts another number of categories than the data have.
  """
  sums = {}
  if lm:
    logits = model.apply({'params': params}, batch, teach, method=Persoma.target_logits)
    logits = logits.astype(jnp.float32)
    losses = optax.softmax_cross_entropy_with_integer_labels(
      logits, batch['decoder_target_tokens']
    )
    if soft_targets and options is not None and options.size:
      soft = model.apply({'params': params}, batch, method=Persoma.soft_prompt_of)
      if soft.slot_logits is not None:
        told = _soft_losses(losses, logits, soft.slot_logits, batch, options)
        losses += soft_targets * (told - losses)
    losses *= batch['decoder_loss_weights']
    sums |= _by_question('lm_loss', losses, batch, model.adapter.questions)
  if not history:
    return sums
  inputs = adapter_inputs(batch) | {'known': batch.get('known_embeddings')}
  soft = model.apply({'params': params}, **inputs, method=Persoma.soft_prompt)
  if soft.slot_logits is not None:
    slots = batch['answer_slots']
    losses = optax.softmax_cross_entropy_with_integer_labels(soft.slot_logits, slots)
    losses = jnp.where(slots < 0, 0.0, losses)
    sums |= _by_question('slot_loss', losses, batch, model.adapter.questions)
  if soft.statistics is not None:
    sums['statistics_loss'] = _squared(soft.statistics, batch['history_statistics'])
  if soft.values is not None:
    sums |= _item_loss_sums(model.adapter.num_categories, soft, batch)
  return sums


def option_tokens(
  forms: Sequence[tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]],
) -> np.ndarray:
  """Returns the words of Q questions as targets, [Q, 2, W, M] int32, padded with -1.

  Args:
    forms: of each question what `answer_vocabulary.target_words` returns: token ids of
      each word in the first slot, and in the other slots.
  """
  each = [ids for form in forms for words in form for ids in words]
  count = max((len(words) for form in forms for words in form), default=0)
  size = max(map(len, each), default=0)
  tokens = np.full((len(forms), 2, count, size), _NO_TOKEN, np.int32)
  for number, form in enumerate(forms):
    for place, words in enumerate(form):
      for word, ids in enumerate(words):
        tokens[number, place, word, : len(ids)] = ids
  return tokens


def _soft_losses(losses, logits, slot_logits, batch, options):
  """Returns the cross-entropies [B, L] to the tokens that a draft lets expect.

  Behind the first tokens of a word stand those of all words that begin so, as probable
  as the draft has these words in the slot (Hinton et al. 2015, arXiv 1503.02531). The
  words of the slots follow each other in an answer. A token that belongs to none, or
  comes behind a word that the draft does not have, keeps its `losses`. Where a word
  ends that begins another one, the next slot's words alone are expected.
  """
  slots, targets = batch['answer_slots'], batch['decoder_target_tokens']
  question = batch['question'][:, 0] if 'question' in batch else 0 * slots[:, 0]
  tables, rows = jnp.asarray(options)[question], jnp.arange(len(slots))
  odds = jax.nn.softmax(jax.lax.stop_gradient(slot_logits))
  odds = odds[..., : tables.shape[2]]  # other drafts may have more words
  log_probs, size = jax.nn.log_softmax(logits), targets.shape[1]
  start, is_known = 0 * slots[:, 0], slots[:, 0] >= 0
  for slot in range(slots.shape[1]):
    options = tables[:, min(slot, 1)]  # [B, W, M]
    own = options[rows, slots[:, slot]]  # [B, M]
    places = start[:, None] + jnp.arange(own.shape[1])
    there, places = (own != _NO_TOKEN) & (places < size), jnp.minimum(places, size - 1)
    shown = jnp.take_along_axis(targets, places, axis=1)
    is_known &= (slots[:, slot] >= 0) & (~there | (own == shown)).all(axis=1)
    begins = jnp.cumprod(options == shown[:, None], axis=-1)
    begins = jnp.pad(begins, ((0, 0), (0, 0), (1, 0)), constant_values=1)[..., :-1]
    shares = odds[:, slot, :, None] * begins * (options != _NO_TOKEN)  # [B, W, M]
    total = shares.sum(axis=1)
    each = rows[:, None, None], places[..., None], options.swapaxes(1, 2)
    told = -jnp.einsum('bwm,bmw->bm', shares, log_probs[each])
    is_told = is_known[:, None] & there & (total > _IMPOSSIBLE)
    places = jnp.where(is_told, places, size)  # nowhere
    told = told / jnp.maximum(total, _IMPOSSIBLE)
    losses = losses.at[rows[:, None], places].set(told, mode='drop')
    start += (own != _NO_TOKEN).sum(axis=1)
  return losses


def _by_question(name, terms, batch, questions):
  """Returns the sum of terms [B, ...], or one for each of several questions."""
  if not questions:
    return {name: jnp.sum(terms)}
  is_of = lambda number: (batch['question'] == number).astype(terms.dtype)
  return {
    f'{name}/{question}': jnp.sum(terms * is_of(number))
    for number, question in enumerate(questions)
  }


def _item_loss_sums(num_categories, soft, batch):
  """Returns the losses of the categories and values of known interactions."""
  categories, values = batch['known_categories'], batch['known_values']
  size = values.shape[1]
  # Predictions of several parts follow each other.
  each = lambda x, found: jnp.concatenate([x] * (found.shape[1] // size), axis=1)
  sums = {'value_loss': _squared(soft.values, each(values, soft.values))}
  if soft.categories is None:
    return sums
  if num_categories not in (0, categories.shape[-1]):
    raise ValueError(
      f'build.num_categories={num_categories}, but the interactions of '
      f'the data have {categories.shape[-1]} categories'
    )
  losses = optax.sigmoid_binary_cross_entropy(
    soft.categories, each(categories, soft.categories)
  )
  return {'category_loss': jnp.sum(losses), **sums}


def _squared(found: Array, targets: Array) -> Array:
  """Sums squared errors; nan among the targets stands for missing values."""
  targets = jnp.where(jnp.isfinite(targets), targets, found)
  return jnp.sum((found - targets) ** 2)


def loss_counts(batch: Batch, questions: Collection[str] = ()) -> dict[str, Array]:
  """Returns the number of terms in each loss of a batch, at least 1.

  The terms are target tokens, slots, known statistics, known interactions, and known
  values.

  Args:
    batch: features of `HistoryFeatureConverter`, each [B, ...].
    questions: names of the questions of a model that answers several.
  """
  tokens = batch['decoder_loss_weights']
  counts = _by_question('lm_loss', tokens, batch, questions)
  if 'answer_slots' in batch:
    slots = jnp.float32(batch['answer_slots'] >= 0)
    counts |= _by_question('slot_loss', slots, batch, questions)
  if 'history_statistics' in batch:
    counts['statistics_loss'] = jnp.sum(jnp.isfinite(batch['history_statistics']))
  if 'known_values' in batch:
    counts['category_loss'] = jnp.float32(batch['known_values'].size)
    counts['value_loss'] = jnp.sum(jnp.isfinite(batch['known_values']))
  return {name: jnp.maximum(count, 1) for name, count in counts.items()}


def mean_losses(
  model: Persoma, params: Mapping, batch: Batch, **which: bool
) -> dict[str, Array]:
  """Returns `loss_sums` divided by `loss_counts`."""
  counts = loss_counts(batch, model.adapter.questions)
  sums = loss_sums(model, params, batch, **which)
  return {name: total / counts[name] for name, total in sums.items()}
