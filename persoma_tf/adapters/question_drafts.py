"""Drafts of several questions, of which every row of a batch gets its own.

A model that answers many questions has a draft for each. A batch may mix questions, as
those of a SeqIO mixture do: all drafts are made for all rows, and each row gets that of
its question, padded to the longest. User tokens stand before the draft and do not
depend on the question.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import gin
import jax.numpy as jnp
from jax import Array

from persoma_tf.answer_template import BARRED, Draft, SoftTokens, Template


@gin.configurable
def draft_forms(forms: Mapping[str, Mapping[str, Any]] = gin.REQUIRED) -> Mapping:
  """Returns the forms of the drafts of a recipe.

  Args:
    forms: for each question the fields of a `Template` and of `Options`, in tokens;
      `answer_vocabulary.bind_template` gives them.
  """
  return forms


class QuestionDrafts(Draft):
  """Holds the drafts of Q questions.

  Attributes:
    questions: names of the questions; a row names its question by the place here.
    drafts: draft of each question, a module whose name is the question's; None for a
      question without one, as free words were in models of earlier versions.
    weights: weight of the losses of each question.
  """

  preserve_adopted_names: ClassVar[bool] = True  # parameters have the questions' names

  questions: tuple[str, ...]
  drafts: tuple[Template | None, ...]
  weights: tuple[float, ...]

  @property
  def num_tokens(self) -> int:
    """Returns K, the number of tokens of the longest draft."""
    return max((draft.num_tokens for draft in self.drafts if draft), default=0)

  @property
  def num_fixed(self) -> int:
    """Returns 0: the rows of a batch may begin with drafts of different questions."""
    return 0

  @property
  def num_factors(self) -> int:
    """Returns how many factors of items the drafts read."""
    return max((getattr(draft, 'num_factors', 0) for draft in self.drafts), default=0)

  def __call__(
    self,
    history: Array,
    mask: Array,
    width: int,
    known: Array | None = None,
    words: Array | None = None,
    asked: Array | None = None,
    present: Array | None = None,
    question: Array | None = None,
  ) -> SoftTokens:
    """Drafts the answers to the questions of B rows.

    Args:
      history: [B, N, H] float32 standardized interaction vectors.
      mask: [B, N], 1 for interactions and 0 for padding.
      width: D.
      known: [B, E, H] interactions whose categories and values are known, for training:
        every draft tells them of every row.
      words: [B, S] int32 words to write into the slots instead of the chosen ones.
      asked: [B, 1, H'] standardized vectors of the items that are asked about; any
        where a row's question is about none.
      present: which of them are no padding; each row has one item.
      question: [B] int32 number of each row's question.

    Returns:
      SoftTokens with K tokens, with `slot_logits` [B, S, W] of as many slots and words
      as any question has, and with `categories` and `values` of all drafts, one after
      the other. Tokens that a row's draft does not have are masked, and words that it
      does not have are barred.

    Raises:
      ValueError: no question is given.
    """
    if question is None:
      raise ValueError(
        f'the model answers the questions {list(self.questions)}: expected the number '
        'of one for each row, as `question`'
      )
    del present
    slots = max((draft.num_slots for draft in self.drafts if draft), default=0)
    if not slots:
      none = jnp.zeros((len(history), 0, width))
      return SoftTokens(none, jnp.ones(none.shape[:2], bool))
    sizes = {
      'tokens': (self.num_tokens, width),
      'mask': (self.num_tokens,),
      'slot_logits': (slots, max(draft.num_words for draft in self.drafts if draft)),
    }
    fill = {'tokens': 0.0, 'mask': False, 'slot_logits': BARRED}
    made = [
      draft(history, mask, width, known, _of_slots(words, draft.num_slots), asked)
      for draft in filter(None, self.drafts)
    ]
    rows, place = jnp.arange(len(history)), self._places()[question]
    found = {}
    for name, size in sizes.items():
      padded = [_padded(getattr(soft, name), size, fill[name]) for soft in made]
      padded.append(jnp.full_like(padded[0], fill[name]))  # of none
      found[name] = jnp.stack(padded, axis=1)[rows, place]
    told = {
      name: jnp.concatenate(parts, axis=1)
      for name in ('categories', 'values')
      if (parts := [x for soft in made if (x := getattr(soft, name)) is not None])
    }
    return SoftTokens(**found, **told)

  def _places(self):
    """Returns the place of each question's draft, [Q]; the last one is for none."""
    drafted = [draft is not None for draft in self.drafts]
    number = sum(drafted)
    return jnp.array(
      [sum(drafted[:at]) if drafted[at] else number for at in range(len(drafted))]
    )


def _of_slots(words, size):
  return None if words is None else words[:, :size]


def _padded(x, size, value):
  """Pads [B, ...] at the end of each axis behind the first to a size."""
  more = [(0, 0), *((0, a - b) for a, b in zip(size, x.shape[1:], strict=True))]
  return jnp.pad(x, more, constant_values=value)
