"""The form of an answer: its texts, its slots, and the words that can fill them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Options(NamedTuple):
  """Tells which words can fill which slots.

  The words of a slot's G options stand side by side. Words that belong to no slot, such
  as 'none', can fill every slot.

  Attributes:
    first_words: for each of the S slots, the index of the word of its first option; ()
      if no word is an option.
    number: G, number of options of a slot, or of queries on the history.
  """

  first_words: tuple[int, ...] = ()
  number: int = 0

  def others(self, num_words: int) -> np.ndarray:
    """Returns the indices of those of the W words that belong to no slot."""
    named = {
      first + place for first in self.first_words for place in range(self.number)
    }
    return np.array([word for word in range(num_words) if word not in named], np.int32)


class AnswerTemplate(NamedTuple):
  """Holds the texts that define a `Template`.

  Attributes:
    parts: parts of an answer in order: texts, and None for each slot.
    words: W texts that can fill a slot.
    options: which of the words can fill which slots.
    begins: (what stands before an answer, W texts of the words as an answer begins with
      them), so that a draft can be the target of `Stage.soft_targets`; None without.
    end: index of the word that says that an answer has ended, where words follow each
      other; None where each word is a whole answer.
  """

  parts: Sequence[str | None]
  words: Sequence[str]
  options: Options = Options()
  begins: tuple[str, Sequence[str]] | None = None
  end: int | None = None
