"""Defines the choice: a question about an example, answered with one of its options."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from persoma_tf.answer_form import AnswerTemplate, Options
from persoma_tf.inference import grammar
from tasks.answers.example_question import Encode, ExampleQuestion


class ChosenOption(NamedTuple):
  """Holds a parsed answer.

  Attributes:
    option: the option that the text names; None if it names none.
  """

  option: str | None

  @property
  def ok(self) -> bool:
    """Tells whether the text names an option."""
    return self.option is not None


@dataclasses.dataclass(frozen=True)
class Choice(ExampleQuestion):
  """Holds the words of a question that is answered with one of a few options.

  Attributes:
    options: texts of the options, in the order of the draft's probabilities.

  Raises:
    ValueError: the parser could not read answers with these words.
  """

  KIND: ClassVar[str] = 'choice'

  options: tuple[str, ...]

  def __post_init__(self):
    object.__setattr__(self, 'options', tuple(self.options))  # a list in JSON
    super().__post_init__()
    if len(self.options) < 2 or len({*self.options}) < len(self.options):
      self._refuse('options', 'two or more different texts')
    if not all(option and option == option.strip() for option in self.options):
      self._refuse('options', "texts without outer spaces, such as ('Yes', 'No')")

  @property
  def numbers(self) -> np.ndarray | None:
    """Returns the number of each option, [O] float64; None if they are no numbers."""
    return None

  def option_tokens(self, encode: Encode) -> list[list[int]]:
    """Returns the token ids of each option as it follows the prompt.

    Args:
      encode: function from a text to its token ids.
    """
    return [self.answer_tokens(option, encode) for option in self.options]

  @property
  def draft_form(self) -> AnswerTemplate:
    """Returns the form of a draft, with a slot for an option."""
    words = [f' {option}' for option in self.options]
    begins = self.before, [*map(self.target, self.options)]
    return AnswerTemplate(self.draft_parts(1), words, self.slot_options, begins)

  @property
  def slot_options(self) -> Options:
    """Returns which of the words can fill the slot of a draft: all options."""
    return Options((0,), len(self.options))

  def label(self, answer: str, encode: Encode) -> tuple[list[int], list[int]]:
    """Returns the tokens of an option, and its number; see `ExampleQuestion`."""
    if answer not in self.options:
      raise ValueError(
        f'the answer {answer!r}: expected one of {list(self.options)}, the options of '
        f'question {self.name}'
      )
    return self.answer_tokens(answer, encode), [self.options.index(answer)]

  def longest(self, encode: Encode) -> int:
    """Returns the number of tokens of the longest option."""
    return max(map(len, self.option_tokens(encode)))

  def grammar(self, encode: Encode, eos_id: int) -> grammar.Grammar:
    """Returns the grammar of the answers: each option as it follows the prompt.

    Raises:
      ValueError: options have the same tokens.
    """
    phrases = [
      grammar.Phrase(option, tokens, self.KIND)
      for option, tokens in zip(self.options, self.option_tokens(encode), strict=True)
    ]
    places = [grammar.FormPlace({self.KIND: grammar.END})]
    return grammar.compiled(phrases, places, eos_id)

  def parse(self, text: str) -> ChosenOption:
    """Parses an answer: an option, perhaps with spaces around it and a full stop."""
    text = text.strip()
    found = [x for x in (text, text.removesuffix('.')) if x in self.options]
    return ChosenOption(found[0] if found else None)

  def row(
    self,
    example: Mapping[str, Any],
    text: str,
    log_prob: float,
    history_length: int,
    probabilities: Sequence[float] = (),
    decoder_probabilities: Sequence[float] = (),
  ) -> dict[str, Any]:
    """Returns a row with the option of the answer, and that of the draft."""
    answer, odds = self.parse(text), [float(x) for x in probabilities]
    return {
      **self._row(example, text, log_prob, history_length, answer.ok),
      'answer': answer.option,
      'draft_answer': self.options[odds.index(max(odds))] if odds else None,
      'draft_probabilities': odds,
      'decoder_probabilities': [float(x) for x in decoder_probabilities],
    }

  def check(self, encode: Encode, unk_id: int | None) -> None:
    """Checks that a vocabulary can write each option, differently from the others.

    Args:
      encode: function from a text to its token ids.
      unk_id: id of the unknown token; None if every text has tokens.

    Raises:
      ValueError: an option has an unknown token, or the tokens of another one.
    """
    tokens = [tuple(ids) for ids in self.option_tokens(encode)]
    for option, ids in zip(self.options, tokens, strict=True):
      if unk_id in ids or tokens.count(ids) > 1:
        raise ValueError(
          f'question {self.name}: the vocabulary has no tokens of its own for option '
          f'{option!r}: expected other words, or another decoder'
        )
