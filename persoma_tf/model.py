"""PERSOMA: a frozen decoder reads soft prompt, task prompt and target.

The sequence is [K soft tokens ; T task prompt ; L target], or what a list of parts says
(`persoma_tf.prompt_parts`), such as a chat template around soft tokens and task prompt.
A decoder-only model puts its own start token, if it has one, before all of it.
SeqIO's start token before the task prompt is not given to the decoder: a model ignores
the text before a start token. In an encoder-decoder, soft tokens and task prompt go
into the encoder and the target into the decoder. The parameter tree has two parts:
'adapter', which makes the soft prompt, and 'decoder'.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import gin
import jax.numpy as jnp
from jax import Array

from persoma_tf import decoders, prompt_parts
from persoma_tf.answer_template import SoftTokens
from persoma_tf.decoders.decoder_only import DecoderOnly
from persoma_tf.prompt_parts import DRAFT, PROMPT, USER, Part
from persoma_tf.setting_types import Count
from persoma_tf.soft_prompt import SoftPrompt, check_parts

Batch = Mapping[str, Array]


class Prompts(NamedTuple):
  """Holds task prompts of different lengths.

  Attributes:
    tokens: [B, T] int32, or [T] for one prompt of all users.
    mask: array of the same shape, 0 or False for padding; the ids there do not count.
  """

  tokens: Array
  mask: Array

  @classmethod
  def of(cls, batch: Batch) -> 'Prompts':
    """Returns the prompts of a batch of `HistoryFeatureConverter`."""
    return cls(batch['encoder_input_tokens'], batch['encoder_input_mask'])

  def for_all(self, batch: int) -> 'Prompts':
    """Returns the prompts of `batch` users, [batch, T] each."""
    repeat = lambda x: jnp.broadcast_to(x, (batch, x.shape[-1]))
    return Prompts(repeat(self.tokens), repeat(self.mask))


@gin.configurable
def build(
  resampler: nn.Module | None = gin.REQUIRED,
  readout: nn.Module | None = gin.REQUIRED,
  decoder: str = gin.REQUIRED,
  num_statistics: int = 0,
  num_task_tokens: Count = 0,
  remat: bool = False,
  prompt_order: str | Sequence[Any] = 'soft_first',
  prompt_tokens: Sequence[Any] | None = None,
  draft: nn.Module | None = None,
  num_categories: Count = 0,
  tell_values: bool = False,
) -> 'tuple[Persoma, decoders.LoadedDecoder]':
  """Builds the model of a recipe and loads the decoder's weights.

  Args:
    resampler: adapter module, see `SoftPrompt`.
    readout: readout module, see `SoftPrompt`.
    decoder: name or path of a decoder, see `persoma_tf.decoders.load_decoder`.
    num_statistics: number of history statistics to predict, see `SoftPrompt`.
    num_task_tokens: number of learned task tokens, see `SoftPrompt`.
    remat: whether the backward pass recomputes the decoder's layers: memory for one
      layer at a time, and a third more time.
    prompt_order: what stands before the answer: 'soft_first', 'prompt_first', 'chat' or
      a list of parts, see `persoma_tf.prompt_parts`. Parts at the beginning that are
      the same for all users are read once for a batch.
    prompt_tokens: the parts of `prompt_order` with token ids in place of texts, which
      `answer_vocabulary.bind_order` makes; None if there are no texts.
    draft: module that drafts the answer, see `SoftPrompt`.
    num_categories: number of categories that the adapter tells, see `SoftPrompt`.
    tell_values: whether it learns to tell values even without categories.

  Returns:
    (model, decoder with its weights).

  Raises:
    ValueError: `prompt_order` is unknown or does not fit the adapter, the decoder
      cannot be loaded, or resampler and readout do not fit together.
  """
  parts = tuple(prompt_tokens or prompt_parts.as_texts(prompt_order))
  tells = num_categories or tell_values
  check_parts(resampler, readout, draft, num_statistics, tells)
  loaded = decoders.load_decoder(decoder, remat=remat)
  adapter = SoftPrompt(
    *(resampler, readout, loaded.width, num_statistics, num_task_tokens, draft),
    num_categories=num_categories,
    tell_values=tell_values,
  )
  has_user = bool(num_task_tokens or (resampler and adapter.template is not readout))
  has_draft = adapter.template is not None
  prompt_parts.check_model(parts, has_user, has_draft, loaded.vocab_size)
  return Persoma(adapter, loaded.module, parts), loaded


class Persoma(nn.Module):
  """Combines the trained adapter and the frozen decoder.

  Attributes:
    adapter: module that makes the soft prompt.
    decoder: frozen language model of the decoder protocol (`persoma_tf.decoders`).
    parts: what stands before the answer, see `persoma_tf.prompt_parts`.
  """

  adapter: SoftPrompt
  decoder: nn.Module
  parts: tuple[Part, ...] = prompt_parts.ORDERS['soft_first']

  def soft_prompt(
    self,
    history: Array,
    mask: Array,
    known: Array | None = None,
    asked: Array | None = None,
    present: Array | None = None,
    question: Array | None = None,
  ) -> SoftTokens:
    """Returns the soft prompts of histories; see `SoftPrompt`."""
    return self.adapter(history, mask, known, None, asked, present, question)

  def soft_prompt_of(self, batch: Batch) -> SoftTokens:
    """Returns the soft prompts of the histories of a batch."""
    return self.adapter(**adapter_inputs(batch))

  def prefix(self, soft: SoftTokens, prompt: Prompts) -> tuple[Array, Array]:
    """Returns what stands before the answers, and its mask: [B, P, D] and [B, P] bool.

    Args:
      soft: soft prompts of B users.
      prompt: task prompts of B users.
    """
    pieces = self._pieces(soft, prompt)
    return _concatenate([(piece.embedded, piece.mask) for piece in pieces])

  def all_before(
    self, soft: SoftTokens, prompt: Prompts, begun: Array
  ) -> tuple[Array, Array]:
    """Returns all that a decoder-only model reads before it writes, for other engines.

    Args:
      soft: soft prompts of B users.
      prompt: task prompts of B users, or one for all.
      begun: [F] int32, first tokens of every answer.

    Returns:
      (embeddings [B, P, D] with the start token if there is one, mask [B, P] bool).
    """
    own = [self.prefix(soft, prompt), self._repeat(begun, len(soft.tokens))]
    return self.decoder.started(*_concatenate(own))

  def target_logits(self, batch: Batch, teach: bool = False) -> Array:
    """Returns the logits [B, L, V] that predict the targets of a batch.

    Args:
      batch: features of `HistoryFeatureConverter`, each [B, ...].
      teach: whether the draft is the label, and not what the adapter chooses.
    """
    words = batch['answer_slots'] if teach else None
    soft = self.adapter(**adapter_inputs(batch), words=words)
    prefix, mask = self.prefix(soft, Prompts.of(batch))
    hidden = self.decoder.target_hidden(prefix, mask, batch['decoder_input_tokens'])
    return self.decoder.logits(hidden)

  def logits(self, hidden: Array) -> Array:
    """Returns the decoder's logits [..., V] of hidden states [..., D]."""
    return self.decoder.logits(hidden)

  def logits_of(self, hidden: Array, tokens: Array) -> Array:
    """Returns the logits [B, M] of states [B, D] for tokens [B, M] or [M] only."""
    return self.decoder.logits_of(hidden, tokens)

  def prefill(
    self, soft: SoftTokens, prompt: Prompts, size: int, begun: Array | None = None
  ):
    """Reads soft prompts and task prompts into a new cache of the decoder.

    Args:
      soft: soft prompts of B users.
      prompt: task prompts of B users, or one for all.
      size: maximum number of tokens of an answer, without `begun`.
      begun: [F] int32, first tokens of every answer.

    Returns:
      (hidden state [B, D] that predicts the next token, cache).
    """
    shared, own = self._split_prefix(soft, prompt)
    batch = len(soft.tokens)
    if begun is not None:
      own.append(self._repeat(begun, batch))
    if not shared:
      return self.decoder.prefill(*_concatenate(own), size)
    embedded, mask = _concatenate(shared)
    return self.decoder.prefill(*_concatenate(own), size, (embedded[0], mask[0]))

  def _split_prefix(self, soft: SoftTokens, prompt: Prompts) -> tuple[list, list]:
    """Splits the prefixes into a beginning that all users share and the rest.

    Args:
      soft: soft prompts of B users.
      prompt: task prompts of B users, or one for all.

    Returns:
      (shared parts of one row, other parts of B rows); a part is (embeddings, mask).
    """
    pieces = [x for x in self._pieces(soft, prompt) if x.mask.shape[1]]
    if not isinstance(self.decoder, DecoderOnly):
      return [], [(x.embedded, x.mask) for x in pieces]
    shared, own = [], []
    for embedded, mask, count in pieces:
      count = 0 if own else count
      if count:
        shared.append((embedded[:1, :count], mask[:1, :count]))
      if count < mask.shape[1]:
        own.append((embedded[:, count:], mask[:, count:]))
    if not own:  # the decoder must read something for each row
      shared, own = shared[:-1], [(pieces[-1].embedded, pieces[-1].mask)]
    return shared, own

  def _pieces(self, soft: SoftTokens, prompt: Prompts) -> 'Iterator[_Piece]':
    """Yields what stands before the answers of B users, part by part."""
    batch, is_one = len(soft.tokens), prompt.tokens.ndim == 1
    prompt = prompt.for_all(batch)
    embedded = self.decoder.embed(prompt.tokens)
    tokens, draft = soft.tokens.astype(embedded.dtype), self.adapter.template
    drafted, fixed = (draft.num_tokens, draft.num_fixed) if draft else (0, 0)
    end = tokens.shape[1] - drafted
    named = {
      USER: _Piece(tokens[:, :end], soft.mask[:, :end], self.adapter.num_task_tokens),
      DRAFT: _Piece(tokens[:, end:], soft.mask[:, end:], fixed),
      PROMPT: _Piece(embedded, prompt.mask > 0, embedded.shape[1] if is_one else 0),
    }
    start = getattr(self.decoder, 'start_token', None)
    for part in prompt_parts.without_start(self.parts, start):
      if isinstance(part, str):
        yield named[part]
      else:
        yield _Piece(*self._repeat(jnp.array(part), batch), len(part))

  def _repeat(self, tokens: Array, batch: int) -> tuple[Array, Array]:
    """Returns embeddings [batch, F, D] of tokens [F] for all rows, and their mask."""
    embedded = self.decoder.embed(jnp.broadcast_to(tokens, (batch, len(tokens))))
    return embedded, jnp.ones(embedded.shape[:2], bool)

  def step(self, tokens: Array, cache):
    """Reads the next token of each row, [B] int32; see `persoma_tf.decoders`."""
    return self.decoder.step(tokens, cache)

  def read_ahead(self, tokens: Array, cache):
    """Reads tokens [B, M] int32 ahead; see `persoma_tf.decoders`."""
    return self.decoder.read_ahead(tokens, cache)

  def branch(self, tokens: Array, cache) -> Array:
    """Reads branches [B, C, M] int32; see `persoma_tf.decoders`."""
    return self.decoder.branch(tokens, cache)

  def __call__(self, batch: Batch) -> Array:
    """Runs all parts once, for initialization; returns the logits [B, L, V]."""
    return self.target_logits(batch)


def adapter_inputs(batch: Batch) -> dict[str, Array | None]:
  """Returns the arguments of `SoftPrompt` that a batch has, by name."""
  question = batch.get('question')
  return {
    'history': batch['history_embeddings'],
    'mask': batch['history_mask'],
    'asked': batch.get('asked_embeddings'),
    'present': batch.get('asked_mask'),
    'question': question if question is None else question[:, 0],
  }


class _Piece(NamedTuple):
  """Holds a part of the prefixes of B users.

  Attributes:
    embedded: [B, S, D] embeddings.
    mask: [B, S] bool, False for padding.
    num_shared: number of positions at the start that are the same for all.
  """

  embedded: Array
  mask: Array
  num_shared: int


def _concatenate(parts: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
  """Concatenates the embeddings and the masks of parts along the sequence."""
  return tuple(jnp.concatenate(x, axis=1) for x in zip(*parts, strict=True))
