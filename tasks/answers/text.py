"""Defines the text: a question about an example, answered in free words.

    A name for this reader's shelf:

There is no grammar: the model writes what its soft prompt tells it, until the text ends
or has `max_tokens` tokens. A draft tells the first words alone, and is no column
(`tasks.text_prediction`). Answers of the data that are longer are cut in the training,
which a warning tells.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from tasks.answers.example_question import Encode, ExampleQuestion

logger = logging.getLogger(__name__)


class WrittenText(NamedTuple):
  """Holds a parsed answer.

  Attributes:
    text: the text without outer spaces; '' if the model wrote nothing.
  """

  text: str

  @property
  def ok(self) -> bool:
    """Tells whether there is a text."""
    return bool(self.text)


@dataclasses.dataclass(frozen=True)
class Text(ExampleQuestion):
  """Holds the words of a question that is answered in free words.

  Attributes:
    max_tokens: largest number of tokens in an answer, with the end of the sequence.

  Raises:
    ValueError: the words make no question.
  """

  KIND: ClassVar[str] = 'text'

  max_tokens: int = 32

  def __post_init__(self):
    super().__post_init__()
    if self.max_tokens < 2:
      self._refuse('max_tokens', 'at least 2')

  def label(self, answer: str, encode: Encode) -> tuple[list[int], list[int]]:
    """Returns the tokens of a text; `tasks.text_prediction` fills the slots."""
    tokens, most = self.answer_tokens(answer, encode), self.longest(encode)
    if len(tokens) > most:
      _warn_of_cut(self.name, self.max_tokens, answer)
    return tokens[:most], []

  def longest(self, encode: Encode) -> int:
    """Returns the number of tokens of the longest text, without its end."""
    del encode
    return self.max_tokens - 1

  def parse(self, text: str) -> WrittenText:
    """Parses an answer: any text."""
    return WrittenText(text.strip())

  def row(
    self,
    example: Mapping[str, Any],
    text: str,
    log_prob: float,
    history_length: int,
    probabilities: Sequence[float] = (),
    decoder_probabilities: Sequence[float] = (),
  ) -> dict[str, Any]:
    """Returns a row with the text as the answer."""
    del probabilities, decoder_probabilities
    answer = self.parse(text)
    row = self._row(example, text, log_prob, history_length, answer.ok)
    return {**row, 'answer': answer.text or None}


_warned: set[str] = set()


def _warn_of_cut(name: str, max_tokens: int, answer: str) -> None:
  """Warns of the first answer of a question that is cut."""
  if name not in _warned:
    _warned.add(name)
    logger.warning(
      'question %s: answers with more than max_tokens=%d tokens are cut, and training '
      'teaches to end there, such as %r: expected more max_tokens, or shorter answers',
      *(name, max_tokens, answer),
    )
