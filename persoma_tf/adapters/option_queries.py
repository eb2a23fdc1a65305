"""Option queries: the draft of an answer, read from the history itself.

Every option of a closed answer is a query on the history. A query opens a gate for each
interaction that concerns its option. Gates are not normalized over the interactions, so
that their sum is a count, and a gated sum of values divided by it a mean; attention's
softmax can tell neither. These few numbers, and an embedding of the option, are one
token per option. Attention between the options ranks them against each other, and each
option gets a logit for each slot of the answer.

Queries are learned with the options, or made from the texts of options
(`persoma_tf.adapters.option_texts`). Nothing here knows what an option is. Words that
are no options are told from all options together: of a text, the categories of items
query the history (`tasks.text_prediction`). Time and memory are linear in N, and the
result does not depend on the order of the interactions.
"""

from typing import Literal, get_args

import flax.linen as nn
import gin
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from persoma_tf.adapters.adapter_layers import Attention, FeedForward
from persoma_tf.adapters.option_texts import TextGates
from persoma_tf.answer_form import Options
from persoma_tf.answer_template import (
  SoftTokens,
  Template,
  chosen_words,
  spread_options,
)
from persoma_tf.setting_types import Count, Positive

# What is told of the gates of an option, see `tell_statistics`.
Statistic = Literal['log_count', 'few', 'mean', 'mean_of_all', 'share', 'length']
STATISTICS = get_args(Statistic)
_ENOUGH = 4  # counts are also told cut off here: rules ask for a few, not for many


@gin.configurable
class OptionQueries(Template):
  """Fills the slots of an answer with options that query the history.

  Attributes:
    num_options: G.
    first_words: see `Options`.
    hidden: width of the network on each interaction.
    width: width of an option's token.
    num_layers: number of layers of attention between options.
    num_heads: number of attention heads; divides `width`.
    attended: options that all options attend to: those with the largest counts. With
      more options than that, time and memory grow with G instead of G².
    statistics: which of STATISTICS are told of each option.
    text_width: length of the vectors of the options' texts that queries are made from
      (`persoma_tf.adapters.option_texts`); 0 for learned queries, one for each option.
    of_categories: whether the options are the categories of interactions.
    hard: whether a slot's token is its chosen word (`chosen_words`), with the gradient
      of the mixture; else it is the mixture of all words, which tells the decoder how
      sure it is.
  """

  num_options: Positive = gin.REQUIRED
  first_words: tuple[int, ...] = gin.REQUIRED
  hidden: Positive = 256
  width: Positive = 64
  num_layers: Count = 2
  num_heads: Positive = 4
  attended: Positive = 256
  statistics: tuple[Statistic, ...] = STATISTICS
  text_width: Count = 0
  of_categories: bool = True
  hard: bool = True

  @property
  def options(self) -> Options:
    """Returns the words that can fill the slots."""
    return Options(tuple(self.first_words), self.num_options)

  @nn.compact
  def __call__(
    self,
    history: Array,
    mask: Array,
    width: int,
    known: Array | None = None,
    words: Array | None = None,
    asked: Array | None = None,
    present: Array | None = None,
  ) -> SoftTokens:
    """Drafts the answers of histories.

    Args:
      history: [B, N, H] float32 standardized interaction vectors.
      mask: [B, N], 1 for interactions and 0 for padding.
      width: D.
      known: [B, E, H] interactions whose categories and values are known, for training.
      words: [B, S] int32 words to write into the slots instead of the chosen ones, if
        they are `hard`.
      asked: vectors of items that a question is about; these queries do not use them.
      present: which of them are no padding; not used either.

    Returns:
      SoftTokens with `slot_logits`, and with `categories` and `values` of `known`.
    """
    del asked, present
    learned = 0 if self.text_width else self.num_options
    item = nn.Dense(self.hidden, name='item')
    tell = nn.Dense(learned + 1, name='gates')  # a query each, and the value
    like = TextGates(self.num_options, self.text_width, name='text_gates')

    def read(x):
      # XLA on CPU would compute a gelu several times, each as long as the product.
      told = tell(nn.relu(item(x)))
      return like(x) if self.text_width else told[..., :-1], told[..., -1]

    mask = mask > 0
    # inf or nan in padding would survive a product with 0.
    logits, values = read(jnp.where(mask[..., None], history, 0.0))
    told = tell_statistics(jax.nn.sigmoid(logits), values, mask)
    slots = self._slot_logits(told, told[..., 0])
    soft = self.fill(slots, words, width, self.hard)
    if known is None:
      return soft
    categories, values = read(known)
    soft = soft._replace(values=values)
    return soft._replace(categories=categories) if self.of_categories else soft

  def best_words(self, logits: Array) -> Array:
    """Returns the best words of slots [B, S, W], of which a list names none twice."""
    return chosen_words(logits, self.options)

  def _slot_logits(self, told, counts):
    """Returns logits [B, S, W] from statistics [B, G, 6] and counts [B, G]."""
    columns = np.array([STATISTICS.index(name) for name in self.statistics])
    x = nn.Dense(self.width, name='told')(told[..., columns])
    if not self.text_width:
      init = nn.initializers.normal(0.3)
      x = x + self.param('names', init, (self.num_options, self.width))
    most = min(self.attended, self.num_options)
    rows = jax.lax.top_k(counts, most)[1][..., None]
    for layer in range(self.num_layers):
      y = nn.LayerNorm(name=f'norm_{layer}')(x)
      keys = y if most == self.num_options else jnp.take_along_axis(y, rows, axis=1)
      everyone = jnp.ones(keys.shape[:2], bool)
      x = x + Attention(self.num_heads, name=f'attention_{layer}')(y, keys, everyone)
      x = x + FeedForward(name=f'feed_forward_{layer}')(x)
    x = nn.LayerNorm(name='norm_out')(x)
    own = nn.Dense(self.num_slots, name='slots')(x).swapaxes(1, 2)
    others = len(self.options.others(self.num_words))
    if not others:  # every word is an option
      return spread_options(own, own[..., :0], self.options, self.num_words)
    rest = nn.DenseGeneral((self.num_slots, others), name='others')(jnp.mean(x, axis=1))
    return spread_options(own, rest, self.options, self.num_words)


def tell_statistics(gates: Array, values: Array, mask: Array) -> Array:
  """Computes what each option's gates tell of a history.

  Args:
    gates: [B, N, G] in [0, 1].
    values: [B, N] value of each interaction.
    mask: [B, N] bool, False for padding.

  Returns:
    [B, G, 6]: log(1 + count), the count cut off at 4 and divided by 4, the mean value
    of the option's interactions, the mean value of all, the option's share of the
    interactions, log(1 + number of interactions) / 5. All are 0 for an empty history.
  """
  gates = jnp.where(mask[..., None], gates, 0.0)
  values = jnp.where(mask, values, 0.0)
  number = jnp.sum(mask, axis=1, keepdims=True)
  count = jnp.sum(gates, axis=1)
  mean = jnp.einsum('bng,bn->bg', gates, values) / (count + 0.1)
  overall = jnp.sum(values, axis=1, keepdims=True) / jnp.maximum(number, 1)
  columns = (
    jnp.log1p(count),
    jnp.clip(count, 0, _ENOUGH) / _ENOUGH,
    mean,
    overall,
    count / jnp.maximum(number, 1),
    jnp.log1p(number) / 5,
  )
  return jnp.stack([jnp.broadcast_to(x, count.shape) for x in columns], axis=-1)
