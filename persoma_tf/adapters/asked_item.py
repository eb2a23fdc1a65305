"""Asked item: the draft of an answer about an item, read from the history itself.

The item that a question is about is the query. Every head opens a gate for each
interaction that resembles it, in a likeness of its own. Gates are not normalized over
the interactions, so that their sum is a count, and a gated sum of values divided by it
a mean. Values are told as deviations from what the item of the interaction lets expect
for anybody: a network on item vectors learns this expectation, and gives it for the
asked item, too, beside statistics of the item if its vector ends with them. A small
network makes of these numbers the value that the user would give, and one logit for
each option.

The known interactions of a batch train more than the reading of values: each is asked
about as an item, with itself left out of the history, and its value is to be told. A
few thousand labelled examples come with some hundred thousand interactions.

Where items have factors (`pipelines.histories.item_factors`), the network is also told
how often users have the asked item and those of the history together, the newest ones
weighing most. Without factors the result does not depend on the order of the
interactions. Time and memory are linear in N.
"""

import flax.linen as nn
import gin
import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf.answer_template import SoftTokens, Template
from persoma_tf.setting_types import Count, Positive

_EPSILON = 1e-6
_BARRED = -1e9
_RATES = 0.01, 0.05, 0.2  # of forgetting an interaction, for each newer one
_SAME = (
  1e-4  # squared distance, of an item's squared length, below which it is the same
)


@gin.configurable
class AskedItem(Template):
  """Fills the one slot of an answer with an option, for the item that is asked about.

  The options are all W words of the template.

  Attributes:
    num_categories: G, number of categories of known interactions that are predicted; 0
      for none.
    num_heads: number of likenesses of items.
    head_width: number of components in which a likeness compares items.
    hidden: hidden width of the network on an item's vector.
    width: hidden width of the network that makes the logits.
    num_statistics: number of statistics that the vector of an item ends with, the first
      of them its mean value; 0 for none.
    num_factors: number of factors behind these, of which only products of two items
      mean anything: it is large where many users have both; 0 for none.
    answers_train_all: whether answers train all of the draft: for data without values.
      Else they train its last layer, and all other layers learn from the values of
      interactions, of which there are many more: a few thousand answers would be
      learned by heart.
    ranks: whether W candidates are asked about, and word i names candidate i; else one
      item is, and the words are options.
    hard: whether the slot's token is its chosen word, with the gradient of the mixture;
      else it is the mixture of all words, which tells the decoder how sure it is.
  """

  num_categories: Count = 0
  num_heads: Positive = 4
  head_width: Positive = 8
  hidden: Positive = 256
  width: Positive = 64
  num_statistics: Count = 0
  num_factors: Count = 0
  answers_train_all: bool = False
  ranks: bool = False
  hard: bool = False

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
    """Drafts the answers about items.

    Args:
      history: [B, N, H] float32 standardized interaction vectors.
      mask: [B, N], 1 for interactions and 0 for padding.
      width: D.
      known: [B, E, H] interactions whose categories and values are known, for training.
      words: [B, 1] int32 words to write into the slot instead of the chosen ones, if
        it is `hard`.
      asked: [B, C, H'] standardized vectors of the items that are asked about: the
        first components of an interaction's vector are its item's. C is W of a ranking,
        else 1.
      present: [B, C], 0 for padding among the candidates of a ranking.

    Returns:
      SoftTokens with `slot_logits` [B, 1, W], with `categories` of `known`, and with
      three predictions of their `values`, [B, 3 E]: read off the interaction, expected
      of the item, and told from the rest of the history.

    Raises:
      ValueError: no item is asked about.
    """
    if asked is None:
      raise ValueError(
        'AskedItem drafts answers about items, but the examples have no '
        'asked_embeddings: expected a question about items, or adapters/options.gin'
      )
    (number, size), mask = asked.shape[1:], mask > 0
    # inf or nan in padding would survive a product with 0.
    history = jnp.where(mask[..., None], history, 0.0)
    items, shown = history[..., :size], jnp.repeat(mask[:, None], number, axis=1)
    if known is not None:
      asked = jnp.concatenate([asked, known[..., :size]], axis=1)
      others = ~is_same_item(self._own(items), self._own(asked[:, number:]))
      shown = jnp.concatenate([shown, shown & others], axis=1)
    read = nn.Dense(1, name='value')
    of_item, expect = nn.Dense(self.hidden, name='item'), nn.Dense(1, name='expected')
    about = lambda x: nn.relu(of_item(self._own(x)))
    means, told_of = self._means(items, asked), about(asked)
    values, expected = read(history)[..., 0], expect(told_of)[..., 0] + means[1]
    deviations = values - expect(about(items))[..., 0] - means[0]
    own = self._own(items), self._own(asked)
    told = tell_likeness(self._gates(*own), values, deviations, shown)
    x = [told, expected[..., None], self._statistics(asked)]
    if self.num_factors:
      x.append(self._together(items, asked, shown))
    x = nn.relu(nn.Dense(self.width, name='in')(jnp.concatenate(x, axis=-1)))
    x = nn.relu(nn.Dense(self.width, name='middle')(x))
    guessed = expected + told[..., -2] + nn.Dense(1, name='guessed')(x)[..., 0]
    x = jnp.concatenate([x, guessed[..., None]], axis=-1)[:, :number]
    x = x if self.answers_train_all else jax.lax.stop_gradient(x)
    soft = self.fill(self._logits(x, present), words, width, self.hard)
    if self.num_categories and (known is not None or self.is_initializing()):
      tell = nn.Dense(self.num_categories, name='categories')
      soft = soft._replace(categories=tell(told_of[:, number:]))
    if known is None:
      return soft
    values = [read(known)[..., 0], expected[:, number:], guessed[:, number:]]
    return soft._replace(values=jnp.concatenate(values, axis=1))

  def _own(self, items):
    """Returns the vectors of items without their statistics and factors."""
    return items[..., : items.shape[-1] - self.num_statistics - self.num_factors]

  def _statistics(self, items):
    """Returns the statistics of items."""
    end = items.shape[-1] - self.num_factors
    return items[..., end - self.num_statistics : end]

  def _means(self, *items):
    """Returns the mean value of each item, 0 without statistics."""
    if not self.num_statistics:
      return [0.0] * len(items)
    weight = self.param('mean_weight', nn.initializers.ones, ())
    return [weight * self._statistics(x)[..., 0] for x in items]

  def _together(self, items, asked, shown):
    """Returns [B, A, R] how much of the history [B, N] users had with those asked.

    Products of factors are summed, newer ones weighing more, at R rates of forgetting.
    """
    factors = lambda x: x[..., x.shape[-1] - self.num_factors :]
    products = jnp.einsum('bnf,baf->ban', factors(items), factors(asked)) * shown
    rates = self.param('forgetting', lambda _: jnp.log(jnp.array(_RATES)))
    age = jnp.arange(items.shape[1])
    weights = jnp.exp(-jnp.exp(rates)[:, None] * age)  # [R, N], the newest is first
    return jnp.arcsinh(jnp.einsum('ban,rn->bar', products, weights))

  def _gates(self, items, asked):
    """Returns gates [B, A, N, heads] in [0, 1] of items [B, N, H'] for those asked."""
    shape = (self.num_heads, self.head_width)
    project = nn.DenseGeneral(shape, use_bias=False, name='likeness')
    scale = self.param('scale', nn.initializers.constant(6.0), shape[:1])
    threshold = self.param('threshold', nn.initializers.constant(0.4), shape[:1])
    likeness = jnp.einsum('bnhd,bahd->banh', *map(_unit, map(project, (items, asked))))
    return jax.nn.sigmoid(scale * (likeness - threshold))

  def _logits(self, x, present):
    """Returns slot logits [B, 1, W] of what is known of the asked items [B, C, ...]."""
    if not self.ranks:
      return nn.Dense(self.num_words, name='slots')(x)
    logits = nn.Dense(1, name='slots')(x)[..., 0]
    return jnp.where(present > 0, logits, _BARRED)[:, None]


def _unit(x):
  return x / jnp.sqrt(jnp.sum(x**2, axis=-1, keepdims=True) + _EPSILON)


def is_same_item(items: Array, asked: Array) -> Array:
  """Tells which items [B, N, H'] are those asked about [B, A, H'], [B, A, N] bool."""
  square = lambda x: jnp.sum(x**2, axis=-1)
  # In fewer bits, as accelerators multiply by default, an item is not equal to itself.
  exact = jax.lax.Precision.HIGHEST
  product = jnp.einsum('bnh,bah->ban', items, asked, precision=exact)
  distance = square(items)[:, None] + square(asked)[..., None] - 2 * product
  return distance < _SAME * square(asked)[..., None] + _EPSILON


def tell_likeness(
  gates: Array, values: Array, deviations: Array, shown: Array
) -> Array:
  """Computes what the gates of each asked item tell of a history.

  Args:
    gates: [B, A, N, heads] in [0, 1].
    values: [B, N] value of each interaction.
    deviations: [B, N] values, without what is expected of the items.
    shown: [B, A, N] bool, False for padding and for interactions that are left out.

  Returns:
    [B, A, 2 heads + 3]: of each head log(1 + count), of each head the mean deviation of
    the interactions that it counts, and of all interactions the mean value, the mean
    deviation, and log(1 + number) / 5. Means are drawn towards 0, as if one more
    interaction were there. All are 0 for an empty history.
  """
  shown = shown.astype(values.dtype)
  number = jnp.sum(shown, axis=-1)
  gates = gates * shown[..., None]
  count = jnp.sum(gates, axis=2)
  mean = jnp.einsum('banh,bn->bah', gates, deviations) / (count + 1)
  of_all = lambda x: jnp.einsum('ban,bn->ba', shown, x) / (number + 1)
  rest = (of_all(values), of_all(deviations), jnp.log1p(number) / 5)
  return jnp.concatenate([jnp.log1p(count), mean, jnp.stack(rest, axis=-1)], axis=-1)
