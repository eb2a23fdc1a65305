"""PERSOMA: soft prompt, task prompt and target through one frozen decoder.

The sequence is [K soft tokens ; T task prompt ; L target], or the first two the other
way round. The start token that SeqIO
puts before the task prompt is not shown to the decoder: SmolLM2 was trained to forget
what stands before it, and Gemma puts its own before everything. An encoder-decoder has
the first two in its encoder and the target in its decoder. Parameters lie under
'adapter' (everything that makes the soft prompt) and 'decoder'.
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
from persoma_tf.decoders.decoder_only import DecoderOnly
from persoma_tf.soft_prompt import SLOT, SoftPrompt, SoftTokens

Batch = Mapping[str, Array]
ORDERS = ('soft_first', 'prompt_first')


@gin.configurable
def build(
  resampler: nn.Module | None = gin.REQUIRED,
  readout: nn.Module | None = gin.REQUIRED,
  decoder: str = gin.REQUIRED,
  num_statistics: int = 0,
  num_task_tokens: int = 0,
  remat: bool = False,
  prompt_order: str = 'soft_first',
) -> 'tuple[Persoma, decoders.Decoder]':
  """The model of a recipe, and the decoder with its weights.

  Args:
    resampler: see `SoftPrompt`.
    readout: see `SoftPrompt`.
    decoder: name of a decoder (`persoma_tf.decoders`).
    num_statistics: see `SoftPrompt`.
    num_task_tokens: see `SoftPrompt`.
    remat: compute the decoder's layers anew in the backward pass, for a third more
      time and activations of one layer at a time.
    prompt_order: 'soft_first' or 'prompt_first'. A task prompt that stands first is
      read once for all users of a batch.

  Raises:
    ValueError: no such order.
  """
  if prompt_order not in ORDERS:
    raise ValueError(f'prompt_order={prompt_order!r}: expected one of {ORDERS}')
  loaded = decoders.load_decoder(decoder, remat=remat)
  adapter = SoftPrompt(
    resampler, readout, loaded.width, num_statistics, num_task_tokens
  )
  return Persoma(adapter, loaded.module, prompt_order), loaded


class Persoma(nn.Module):
  """The trained part and the frozen part, side by side.

  Attributes:
    adapter: makes the soft prompt.
    decoder: frozen language model with `embed`, `hidden` and `logits`
      (`persoma_tf.decoders`).
    prompt_order: one of ORDERS.
  """

  adapter: SoftPrompt
  decoder: nn.Module
  prompt_order: str = ORDERS[0]

  def soft_prompt(self, history: Array, mask: Array) -> SoftTokens:
    """Soft prompts of histories [B, N, H] with mask [B, N]."""
    return self.adapter(history, mask)

  def prefix(self, soft: SoftTokens, prompt: Array) -> tuple[Array, Array]:
    """All that the answer stands behind.

    Args:
      soft: soft prompts of B users.
      prompt: [B, T] int32 task prompts, padded with 0 on the right.

    Returns:
      embeddings [B, K + T, D] and their mask, bool.
    """
    embedded = self.decoder.embed(prompt)
    soft_tokens = soft.tokens.astype(embedded.dtype)
    parts = [(soft_tokens, soft.mask), (embedded, prompt > 0)]
    parts = parts if self.prompt_order == 'soft_first' else parts[::-1]
    return _joined(parts)

  def target_logits(self, batch: Batch) -> Array:
    """Logits [B, L, V] that predict the targets of a batch.

    Args:
      batch: features of `HistoryFeatureConverter`, each [B, ...].
    """
    soft = self.adapter(batch['history_embeddings'], batch['history_mask'])
    prefix, mask = self.prefix(soft, batch['encoder_input_tokens'])
    hidden = self.decoder.target_hidden(prefix, mask, batch['decoder_input_tokens'])
    return self.decoder.logits(hidden)

  def logits(self, hidden: Array) -> Array:
    """Decoder's `logits`."""
    return self.decoder.logits(hidden)

  def logits_of(self, hidden: Array, tokens: Array) -> Array:
    """Decoder's `logits_of`."""
    return self.decoder.logits_of(hidden, tokens)

  def prefill(
    self, soft: SoftTokens, prompt: Array, size: int, begun: Array | None = None
  ):
    """Decoder's `prefill` behind all that an answer stands behind.

    Args:
      soft: soft prompts of B users.
      prompt: [B, T] int32 task prompts, or [T] for all; padded with 0.
      size: of the answers at most, without `begun`.
      begun: [F] int32, the first tokens of every answer.
    """
    shared, own = self._in_common(soft, prompt)
    batch = len(soft.tokens)
    if begun is not None:
      own.append(self._repeated(begun, batch))
    if not shared:
      return self.decoder.prefill(*_joined(own), size)
    embedded, _ = _joined(shared)
    return self.decoder.prefill(*_joined(own), size, embedded[0])

  def _in_common(self, soft: SoftTokens, prompt: Array) -> tuple[list, list]:
    """What the prefixes of all users begin with, of one row, and the rest of each."""
    batch, one = len(soft.tokens), prompt.ndim == 1
    each = prompt if not one else jnp.broadcast_to(prompt, (batch, len(prompt)))
    whole = (self.decoder.embed(each), each > 0)
    tokens = soft.tokens.astype(whole[0].dtype)
    count = min(self.adapter.num_shared, tokens.shape[1] - 1)
    first = [(tokens[:1, :count], soft.mask[:1, :count])] if count else []
    rest = (tokens[:, count:], soft.mask[:, count:])
    if not isinstance(self.decoder, DecoderOnly):
      return [], [self.prefix(soft, each)]
    if self.prompt_order == 'soft_first':
      return first, [rest, whole]
    if not one:
      return [], [whole, (tokens, soft.mask)]
    return [(whole[0][:1], whole[1][:1]), *first], [rest]

  def _repeated(self, tokens: Array, batch: int) -> tuple[Array, Array]:
    """Embeddings [batch, F, D] of tokens [F] for all rows, and their mask."""
    embedded = self.decoder.embed(jnp.broadcast_to(tokens, (batch, len(tokens))))
    return embedded, jnp.ones(embedded.shape[:2], bool)

  def step(self, tokens: Array, cache):
    """Decoder's `step`."""
    return self.decoder.step(tokens, cache)

  def __call__(self, batch: Batch) -> Array:
    """Runs every part once, for initialization; returns the logits [B, L, V]."""
    return self.target_logits(batch)


def _joined(parts: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
  """Embeddings and masks one behind the other."""
  embedded, masks = zip(*parts, strict=True)
  return jnp.concatenate(embedded, axis=1), jnp.concatenate(masks, axis=1)


def loss_sums(
  model: Persoma,
  params: Mapping,
  batch: Batch,
  *,
  lm: bool = True,
  history: bool = True,
) -> dict[str, Array]:
  """Losses summed over what `loss_counts` counts; float32 scalars.

  Args:
    model: the model.
    params: {'adapter': ..., 'decoder': ...}.
    batch: features of `HistoryFeatureConverter`, each [B, ...].
    lm: 'lm_loss', the negative log-likelihood (nats) of the target tokens. Without
      it the decoder is never run.
    history: 'slot_loss', the cross-entropy (nats) of the word that each slot should
      hold, and 'statistics_loss', the squared error of the history statistics, where
      the model has them. They supervise the soft prompt without the decoder.
  """
  apply = lambda method, *args: model.apply({'params': params}, *args, method=method)
  sums = {}
  if lm:
    losses = optax.softmax_cross_entropy_with_integer_labels(
      apply(Persoma.target_logits, batch).astype(jnp.float32),
      batch['decoder_target_tokens'],
    )
    sums['lm_loss'] = jnp.sum(losses * batch['decoder_loss_weights'])
  if history:
    soft = apply(
      Persoma.soft_prompt, batch['history_embeddings'], batch['history_mask']
    )
    if soft.slot_logits is not None:
      losses = optax.softmax_cross_entropy_with_integer_labels(
        soft.slot_logits, batch['answer_slots']
      )
      sums['slot_loss'] = jnp.sum(losses)
    if soft.statistics is not None:
      known = jnp.isfinite(batch['history_statistics'])
      targets = jnp.where(known, batch['history_statistics'], soft.statistics)
      sums['statistics_loss'] = jnp.sum((soft.statistics - targets) ** 2)
  return sums


def loss_counts(batch: Batch) -> dict[str, Array]:
  """How many target tokens, slots and known statistics a batch has; at least 1."""
  counts = {'lm_loss': jnp.sum(batch['decoder_loss_weights'])}
  if 'answer_slots' in batch:
    counts['slot_loss'] = jnp.float32(batch['answer_slots'].size)
    counts['statistics_loss'] = jnp.sum(jnp.isfinite(batch['history_statistics']))
  return {name: jnp.maximum(count, 1) for name, count in counts.items()}


def mean_losses(
  model: Persoma, params: Mapping, batch: Batch, **which: bool
) -> dict[str, Array]:
  """`loss_sums` over `loss_counts`."""
  counts = loss_counts(batch)
  sums = loss_sums(model, params, batch, **which)
  return {name: total / counts[name] for name, total in sums.items()}


def init_adapter(
  model: Persoma,
  decoder: decoders.LoadedDecoder,
  batch: Batch,
  words: Sequence[Sequence[int]] | None,
  seed: int,
) -> dict:
  """Fresh adapter parameters that know the decoder and the data they start from.

  Args:
    model: the model.
    decoder: the model's decoder.
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
  rng, vocabulary = np.random.default_rng(seed), decoder.vocab_size
  if 'task_tokens' in params:  # as words that are frequent
    size = len(params['task_tokens'])
    params['task_tokens'] = decoder.embed(
      rng.integers(min(5_000, vocabulary), size=size)
    )
  if model.adapter.resampler:
    real = history[mask > 0]
    # One scale for all components: rare but telling ones must not be blown up.
    params['standardize']['mean'] = real.mean(0)
    params['standardize']['scale'] = np.full(real.shape[-1], real.std(0).mean())
    some = decoder.embed(np.arange(0, vocabulary, -(-vocabulary // 4096)))
    params['token_rms'] = np.sqrt(np.mean(some**2))
  if words is not None:
    fixed = [token for token in model.adapter.readout.layout if token != SLOT]
    params['readout']['words'] = np.stack(
      [decoder.embed(ids).mean(0) for ids in map(np.array, words)]
    )
    params['readout']['template'] = decoder.embed(np.array(fixed))
  return jax.tree.map(lambda x: np.asarray(x, np.float32), params)
