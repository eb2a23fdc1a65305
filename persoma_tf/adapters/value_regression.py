"""Value regression: the draft of an answer about an item, from the values of a history.

What a user would value an item follows in closed form from what everybody values it
(statistics that its vector ends with) and from a ridge regression of the user's own
deviations on components of the items, newer ones weighing more (Bertinetto et al. 2019,
arXiv 1805.08136). The components are the principal ones of the training interactions,
and the items' categories as a linear map tells them from the texts
(`persoma_tf.training.initial_adapter`); beside them are the items' factors, if their
vectors end with some (`pipelines.histories.item_factors`). They stay as they are: a few
thousand histories teach some weights and penalties, but components learned from them
are worse for other users than these. Neither do they teach a text what everybody thinks
of it, beside its statistics.

A small network corrects the value, and one layer makes of a few numbers a logit for
each option.

The known interactions of a batch train it: each is asked about as an item, as if it
were the next one, so that only interactions before it are read. Time is linear in N.
"""

import flax.linen as nn
import gin
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.sparse.linalg import cg

from persoma_tf.adapters.asked_item import is_same_item
from persoma_tf.answer_template import SoftTokens, Template
from persoma_tf.setting_types import Count, Positive

_TOLERANCE, _MOST_ROUNDS = 1e-5, 100  # of the search for a regression's coefficients
_FAST = (
  10.0  # times as fast as other parameters: the few that start far from their goal
)


@gin.configurable
class ValueRegression(Template):
  """Fills the one slot of an answer with an option, for the item that is asked about.

  The options are all W words of the template.

  Attributes:
    num_components: number of principal components of items that the regression reads.
    num_categories: G, number of categories of items, which it reads, too, as a linear
      map tells them from an item's vector; 0 for none.
    num_statistics: number of statistics that the vector of an item ends with, the first
      of them its mean value; 0 for none.
    num_factors: number of factors behind these, which the regression reads, too; 0 for
      none. Its predictions depend on products of two items' factors alone.
    width: hidden width of the network that corrects the value.
    hard: whether the slot's token is its chosen word, with the gradient of the mixture;
      else it is the mixture of all words, which tells the decoder how sure it is.
  """

  num_components: Positive = 32
  num_categories: Count = 0
  num_statistics: Count = 0
  num_factors: Count = 0
  width: Positive = 32
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
      history: [B, N, H] float32 standardized interaction vectors, newest first.
      mask: [B, N], 1 for interactions and 0 for padding.
      width: D.
      known: [B, E, H] interactions whose values are known, for training.
      words: [B, 1] int32 words to write into the slot instead of the chosen ones, if
        it is `hard`.
      asked: [B, 1, H'] standardized vectors of the items that are asked about: the
        first components of an interaction's vector are its item's.
      present: which of them are no padding; the one item is none.

    Returns:
      SoftTokens with `slot_logits` [B, 1, W], and with two predictions of the `values`
      of `known`, [B, 2 E]: read off the interaction, and told from those before it.

    Raises:
      ValueError: no item is asked about.
    """
    if asked is None:
      raise ValueError(
        'ValueRegression drafts answers about items, but the examples have no '
        'asked_embeddings: expected a question about items, or adapters/options.gin'
      )
    del present
    size, mask = asked.shape[-1], mask > 0
    # inf or nan in padding would survive a product with 0.
    history = jnp.where(mask[..., None], history, 0.0)
    items, shown = history[..., :size], mask[:, None]
    if known is not None:
      asked = jnp.concatenate([asked, known[..., :size]], axis=1)
      before = is_before(self._texts(items), self._texts(asked[:, 1:]))
      shown = jnp.concatenate([shown, shown & before], axis=1)
    read = nn.Dense(1, name='value')
    values, expected = read(history)[..., 0], self._expected(asked)
    told = self._tell(items, values - self._expected(items), shown, asked)
    told = jnp.stack([expected, *told, *self._statistics(asked)], axis=-1)
    x = nn.relu(nn.Dense(self.width, name='in')(told))
    x = nn.relu(nn.Dense(self.width, name='middle')(x))
    correct = nn.Dense(1, kernel_init=nn.initializers.zeros, name='correction')
    guessed = expected + told[..., 1] + correct(x)[..., 0]
    # Answers train this layer only: there are few, and each value is an answer, too.
    x = jnp.concatenate([guessed[..., None], told], axis=-1)[:, :1]
    slots = nn.Dense(self.num_words, kernel_init=nn.initializers.zeros, name='slots')
    soft = self.fill(_FAST * slots(jax.lax.stop_gradient(x)), words, width, self.hard)
    if known is None:
      return soft
    told = jnp.concatenate([read(known)[..., 0], guessed[:, 1:]], axis=1)
    return soft._replace(values=told)

  def _texts(self, items):
    """Returns the vectors of items without their statistics and factors."""
    return items[..., : items.shape[-1] - self.num_statistics - self.num_factors]

  def _statistics(self, items):
    """Returns the statistics of items, each [B, A]."""
    end = items.shape[-1] - self.num_factors
    return [items[..., place] for place in range(end - self.num_statistics, end)]

  def _number(self, name):
    """Returns a trained scalar, which starts at 0."""
    return _FAST * self.param(name, nn.initializers.zeros, ())

  def _positive(self, name, start):
    """Returns a trained positive scalar."""
    return start * jnp.exp(self._number(name))

  @nn.compact
  def _expected(self, items):
    """Returns the value [B, A] that anybody would give to items."""
    overall = jnp.full(items.shape[:-1], self._number('overall'))
    if not self.num_statistics:
      return overall
    return overall + self._positive('mean_weight', 1.0) * self._statistics(items)[0]

  def _tell(self, items, deviations, shown, asked):
    """Returns what a history tells of asked items, each [B, A].

    They are the deviation that the regression predicts, the mean deviation, and the
    number of interactions.
    """
    shape = (self.num_components, self.num_categories)
    size = self._texts(asked).shape[-1]
    components = self.param('components', nn.initializers.zeros, (size, sum(shape)))
    scales = self._positive('own', 0.2), self._positive('of_categories', 0.2)
    scales = jnp.repeat(
      jnp.stack(scales), np.array(shape), total_repeat_length=sum(shape)
    )
    directions = jax.lax.stop_gradient(components) * scales**0.5
    of_all = self._positive('of_all', 0.2) ** 0.5
    of_factors = self._positive('of_factors', 0.4) ** 0.5 if self.num_factors else 0.0
    scaled = lambda x: jnp.concatenate(
      [
        self._texts(x) @ directions,
        jnp.full((*x.shape[:-1], 1), of_all),
        x[..., x.shape[-1] - self.num_factors :] * of_factors,
      ],
      axis=-1,
    )
    age = jnp.cumsum(shown, axis=-1) - 1.0
    decay = self._positive('decay', 0.03)
    predicted = predict_deviations(
      scaled(items),
      deviations,
      shown * jnp.exp(-decay * age),
      scaled(asked),
      self._positive('penalty', 0.9),
    )
    number = jnp.sum(shown, axis=-1)
    mean = jnp.einsum('ban,bn->ba', shown, deviations) / (number + 1)
    return predicted, mean, jnp.log1p(number) / 5


def is_before(items: Array, asked: Array) -> Array:
  """Tells which interactions of a history were before those with asked items.

  Args:
    items: [B, N, H'] float32 items of histories, newest first.
    asked: [B, A, H'] float32 items.

  Returns:
    [B, A, N] bool: behind the newest interaction with the item, and not with the item
    itself; all, for an item that is not in the history.
  """
  same = is_same_item(items, asked)
  behind = jnp.cumsum(same, axis=-1) > 0
  return ~same & (behind | ~same.any(axis=-1, keepdims=True))


def predict_deviations(
  components: Array, deviations: Array, weights: Array, asked: Array, penalty: Array
) -> Array:
  """Predicts deviations by a ridge regression on the components of items.

  Its coefficients are found by conjugate gradients (Hestenes and Stiefel 1952, doi
  10.6028/jres.049.044).

  Args:
    components: [B, N, C] float32 components of the items of a history.
    deviations: [B, N] float32 deviations of their values.
    weights: [B, A, N] float32 weights of the interactions for each asked item.
    asked: [B, A, C] float32 components of the asked items.
    penalty: positive scalar, the weight of the squared coefficients.

  Returns:
    [B, A] float32; 0 for an empty history.
  """

  def coefficients(components, deviations, weights):
    squares = lambda x: components.T @ (weights * (components @ x)) + penalty * x
    sums = components.T @ (weights * deviations)
    return cg(squares, sums, tol=_TOLERANCE, maxiter=_MOST_ROUNDS)[0]

  # Products only: on a CPU, two programs that factor matrices at the same time can wait
  # for each other's threads forever (jaxlib 0.10.2).
  of_history = jax.vmap(coefficients, (None, None, 0))
  found = jax.vmap(of_history)(components, deviations, weights)
  return jnp.einsum('bac,bac->ba', asked, found)
