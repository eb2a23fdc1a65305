"""Turns a history into K soft tokens for the frozen decoder.

The soft tokens are learned task tokens, the same for all users; user tokens, the same
for all questions; and the draft of an answer. Each part can be left out, and all of
them where the history is text in the prompt. An adapter
(Perceiver, ...) maps the history to latents [B, M, A], and a readout maps the latents
to user tokens [B, K, D]. The draft (`persoma_tf.adapters.option_queries`) reads the
history itself. User tokens and draft are scaled to the root-mean-square of the
decoder's own token embeddings.

There are two readouts. `LinearReadout` projects every latent to one token.
`TemplateReadout` is a draft that reads latents.
"""

import flax.linen as nn
import gin
import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf.adapters.question_drafts import QuestionDrafts
from persoma_tf.answer_form import AnswerTemplate
from persoma_tf.answer_template import SLOT, Draft, SoftTokens, Template
from persoma_tf.setting_types import Positive

__all__ = ['SLOT', 'AnswerTemplate', 'SoftTokens']
_EPSILON = 1e-6


def scale_to(tokens: Array, rms: Array) -> Array:
  """Scales each token [..., D] to the root-mean-square `rms` (scalar)."""
  size = jnp.sqrt(jnp.mean(tokens**2, axis=-1, keepdims=True) + _EPSILON**2)
  return tokens * (rms / size)


class Standardize(nn.Module):
  """Standardizes each component: (x - mean) / scale, with fixed parameters.

  Sentence vectors of one template lie in a narrow cone: their common part is large and
  their differences are small. `mean` and `scale` [H] are computed from training data at
  initialization, saved with the adapter, and not trained.
  """

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., H] to [..., H]."""
    shape = (x.shape[-1],)
    mean = self.param('mean', nn.initializers.zeros, shape)
    scale = self.param('scale', nn.initializers.ones, shape)
    return (x - jax.lax.stop_gradient(mean)) / jax.lax.stop_gradient(scale)


@gin.configurable
class LinearReadout(nn.Module):
  """Projects each latent to one soft token, K = M."""

  @nn.compact
  def __call__(self, latents: Array, mask: Array, width: int) -> SoftTokens:
    """Projects [B, M, A] to [B, M, width]."""
    return SoftTokens(nn.Dense(width, name='out')(latents), mask)


@gin.configurable
class TemplateReadout(Template):
  """Fills the slots of an answer from all latents together.

  The token of a slot is a convex mixture of W word vectors. One network computes the
  weights of all slots.

  Attributes:
    hidden: hidden width of the network.
  """

  hidden: Positive = 512

  @nn.compact
  def __call__(self, latents: Array, mask: Array, width: int) -> SoftTokens:
    """Maps latents [B, M, A] to tokens [B, K, width]; the mask is not used."""
    del mask
    x = latents.reshape(latents.shape[0], -1)
    x = nn.gelu(nn.Dense(self.hidden, name='in')(x))
    inner = nn.gelu(nn.Dense(self.hidden, name='up')(nn.LayerNorm(name='norm')(x)))
    x = x + nn.Dense(self.hidden, name='down')(inner)
    slots = (self.num_slots, self.num_words)
    logits = nn.DenseGeneral(slots, name='slots')(nn.LayerNorm(name='norm_out')(x))
    tokens = self.arrange(jax.nn.softmax(logits), width)
    return SoftTokens(tokens, jnp.ones(tokens.shape[:2], bool), logits)


def check_parts(
  resampler: nn.Module | None,
  readout: nn.Module | None,
  draft: nn.Module | None,
  num_statistics: int,
  tells_items: bool | int = False,
) -> None:
  """Checks that the parts of a soft prompt fit together.

  Args:
    resampler: adapter module, see `SoftPrompt`.
    readout: readout module, see `SoftPrompt`.
    draft: draft module, see `SoftPrompt`.
    num_statistics: number of history statistics to predict.
    tells_items: whether the adapter predicts categories or values of interactions.

  Raises:
    ValueError: the adapter makes as many latents as a user has interactions, where a
      fixed number is read; a prompt would have two drafts; or nothing could predict the
      statistics, or the categories.
  """
  if draft and isinstance(readout, TemplateReadout):
    raise ValueError(
      'build.readout = @TemplateReadout() and build.draft are both a draft of the '
      'answer: expected build.readout = @LinearReadout(), or no build.draft'
    )
  if num_statistics and not resampler:
    raise ValueError(
      'Stage.statistics_weight trains the latents of build.resampler, which is None: '
      'expected statistics_weight = 0, or an adapter as build.resampler'
    )
  if tells_items and not hasattr(resampler, 'item_vectors'):
    raise ValueError(
      'build.num_categories and build.tell_values train what build.resampler makes of '
      'each interaction, its item_vectors, which it does not have: expected neither, '
      'or Perceiver, Transformer or Mlp as build.resampler'
    )
  fixed = isinstance(readout, TemplateReadout) or num_statistics
  if fixed and getattr(resampler, 'resampling', '') == 'none':
    raise ValueError(
      f"{type(resampler).__name__}.resampling='none' makes a latent of every "
      'interaction, but TemplateReadout and statistics_weight read a fixed number of '
      "latents: expected resampling 'pool', 'queries' or 'latents', or "
      'build.readout = @LinearReadout() and no statistics_weight'
    )


class SoftPrompt(nn.Module):
  """Maps histories to soft prompts; contains all parameters of the adapter.

  Attributes:
    resampler: adapter module ([B, N, H], [B, N]) -> ([B, M, A], [B, M] bool). None for
      a prompt without user tokens.
    readout: module ([B, M, A], [B, M], D) -> SoftTokens; None without a resampler.
    width: D, width of the decoder's embeddings.
    num_statistics: M, number of history statistics to predict; 0 for none.
    num_task_tokens: number of learned task tokens before the tokens of the user (Lester
      et al. 2021, arXiv 2104.08691).
    draft: module ([B, N, H], [B, N], D, [B, E, H], [B, S], [B, C, H'], [B, C]) ->
      SoftTokens; the last only if there is padding. None for a prompt without a draft.
    num_categories: G, number of categories that a linear layer on the resampler's
      `item_vectors` predicts, and a value; 0 for none. A draft predicts its own.
    tell_values: whether the layer predicts a value even without categories.
  """

  resampler: nn.Module | None
  readout: nn.Module | None
  width: int
  num_statistics: int = 0
  num_task_tokens: int = 0
  draft: nn.Module | None = None
  num_categories: int = 0
  tell_values: bool = False

  @property
  def template(self) -> Draft | None:
    """Returns the module that drafts an answer; None if there is none."""
    made = self.draft or self.readout
    return made if isinstance(made, Draft) else None

  @property
  def questions(self) -> dict[str, float]:
    """Returns the weight of each question's losses; {} for a model of one question."""
    if not isinstance(self.draft, QuestionDrafts):
      return {}
    return dict(zip(self.draft.questions, self.draft.weights, strict=True))

  @property
  def tells_items(self) -> bool:
    """Returns whether categories and values of interactions are predicted."""
    return bool(self.draft or self.num_categories or self.tell_values)

  @nn.compact
  def __call__(
    self,
    history: Array,
    mask: Array,
    known: Array | None = None,
    words: Array | None = None,
    asked: Array | None = None,
    present: Array | None = None,
    question: Array | None = None,
  ) -> SoftTokens:
    """Returns the soft prompts of histories.

    The tokens of the user are scaled to the root-mean-square `token_rms`. This
    parameter is measured on the decoder's token embeddings and is not trained.

    Args:
      history: [B, N, H] float32 interaction vectors.
      mask: [B, N] int32, 1 for interactions and 0 for padding.
      known: [B, E, H] float32 interactions whose categories and values are known, for
        training; see `SoftTokens.categories`. If user tokens and draft both predict
        them, the draft's predictions follow along E: [B, 2 E, G] and [B, 2 E].
      words: [B, S] int32 words of the draft; None for the words that it chooses.
      asked: [B, C, H'] float32 vectors of the items that the question is about, the
        first components of an interaction's; None without items. Only the draft
        depends on them.
      present: [B, C], 0 for padding among `asked`; None if nothing there is padding.
      question: [B] int32 number of each row's question, on which only the draft
        depends; None if the model answers one question.
    """
    parts = []
    if self.num_task_tokens:
      shape = (self.num_task_tokens, self.width)
      task = self.param('task_tokens', nn.initializers.normal(0.1), shape)
      task = jnp.broadcast_to(task, (len(history), *shape))
      parts.append(SoftTokens(task, jnp.ones(task.shape[:2], bool)))
    if self.resampler or self.draft:
      parts += self._of_the_user(history, mask, known, words, asked, present, question)
    if not parts:
      nothing = jnp.zeros((len(history), 0, self.width))
      parts.append(SoftTokens(nothing, jnp.ones(nothing.shape[:2], bool)))
    return SoftTokens(*map(_joined, zip(*parts, strict=True)))

  def _of_the_user(self, history, mask, known, words, asked, present, question):
    """Returns the user tokens and the draft, as far as the prompt has them."""
    standardize, parts = Standardize(name='standardize'), []
    history = standardize(history)
    known = known if known is None else standardize(known)
    if self.resampler:
      latents, present = self.resampler(history, mask)
      soft = self.readout(latents, present, self.width)
      if self.num_statistics:
        flat = latents.reshape(latents.shape[0], -1)
        statistics = nn.Dense(self.num_statistics, name='statistics')(flat)
        soft = soft._replace(statistics=statistics)
      tells = self.num_categories or self.tell_values
      if tells and (known is not None or self.is_initializing()):
        items = history if known is None else known
        items = self.resampler.item_vectors(items, jnp.ones(items.shape[:2]))
        told = nn.Dense(self.num_categories + 1, name='known')(items)
        categories = told[..., :-1] if self.num_categories else None
        soft = soft._replace(categories=categories, values=told[..., -1])
      parts.append(soft)
    if self.draft:
      if asked is not None:  # standardized as the first components of interactions
        more = history.shape[-1] - asked.shape[-1]
        padded = standardize(jnp.pad(asked, ((0, 0), (0, 0), (0, more))))
        asked = padded[..., : asked.shape[-1]]
      of = {'present': present, 'question': question}
      of = {name: x for name, x in of.items() if x is not None}
      parts.append(self.draft(history, mask, self.width, known, words, asked, **of))
    rms = self.param('token_rms', nn.initializers.ones, ())
    rms = jax.lax.stop_gradient(rms)
    return [part._replace(tokens=scale_to(part.tokens, rms)) for part in parts]


def _joined(fields):
  """Concatenates what the parts have of a field; None if none has it."""
  fields = [x for x in fields if x is not None]
  return jnp.concatenate(fields, axis=1) if fields else None
