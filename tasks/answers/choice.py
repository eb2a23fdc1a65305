"""Defines the choice: a question about an example, answered with one of its options.

    Will the reader like {title} by {author}?

The prompt is a template (`tasks.text_templates`), so it differs from example to
example. Its names are columns of the examples' own file (`fields`), or else of the item
that is asked about.

The answer follows after a space, as a text goes on: if the prompt does not end in white
space, the target is ' Yes' and not 'Yes'. Vocabularies have a token for the word with
its space, which the decoder expects there. Behind white space the target is the option
itself.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from persoma_tf.answer_form import AnswerTemplate, Options
from persoma_tf.inference import grammar
from persoma_tf.tokenizers.plain_text import continued
from tasks.text_templates import TextTemplate, read_template


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
class Choice:
  """Holds the words of a question that is answered with one of a few options.

  Attributes:
    name: name of the question, ends in a version, such as '_v1'; the value of column
      `task` of the predictions.
    prompt: template of the task prompt, which follows the history.
    options: texts of the options, in the order of the draft's probabilities.
    fields: names in the prompt that are columns of the examples' own file.
    asks_item: whether every example is about an item. All other names in the prompt are
      then columns of the item.

  Raises:
    ValueError: the parser could not read answers with these words.
  """

  KIND: ClassVar[str] = 'choice'  # in the words of a question

  name: str
  prompt: str
  options: tuple[str, ...]
  fields: tuple[str, ...] = ()
  asks_item: bool = True

  def __post_init__(self):
    for field in ('options', 'fields'):  # lists in JSON
      object.__setattr__(self, field, tuple(getattr(self, field)))
    if not re.fullmatch(r'\w+_v\d+', self.name):
      self._refuse('name', 'a name with a version, such as book_like_v1')
    if not self.prompt:
      self._refuse('prompt', 'a text')
    if len(self.options) < 2 or len({*self.options}) < len(self.options):
      self._refuse('options', 'two or more different texts')
    if not all(option and option == option.strip() for option in self.options):
      self._refuse('options', "texts without outer spaces, such as ('Yes', 'No')")
    # Read for all: a prompt that is no template is an error here.
    if self.item_fields and not self.asks_item:
      self._refuse('prompt', f'only names in fields={self.fields}, as there is no item')

  def _refuse(self, field, expected):
    value = getattr(self, field)
    raise ValueError(f'Question {self.name!r}: {field}={value!r}: expected {expected}')

  @property
  def template(self) -> TextTemplate:
    """Returns the template of the prompt.

    Raises:
      ValueError: a sign is missing in the prompt, or stands where it means nothing.
    """
    return read_template(self.prompt)

  @property
  def item_fields(self) -> tuple[str, ...]:
    """Returns the names in the prompt that are columns of the item."""
    return tuple(x for x in self.template.fields if x not in self.fields)

  @property
  def numbers(self) -> np.ndarray | None:
    """Returns the number of each option, [O] float64; None if they are no numbers."""
    return None

  @property
  def targets(self) -> tuple[str, ...]:
    """Returns the text of each option as it follows the prompt."""
    space = '' if self.prompt[-1].isspace() else ' '
    return tuple(f'{space}{option}' for option in self.options)

  @property
  def _ending(self) -> str:
    """Returns the end of every prompt: what stands behind the last sign and line."""
    return re.split(r'[{}\[\]|]', self.prompt)[-1].lstrip().rpartition('\n')[2]

  def target_tokens(self, encode: Callable[[str], Sequence[int]]) -> list[list[int]]:
    """Returns the token ids of each option as it follows the prompt.

    Args:
      encode: function from a text to its token ids.
    """
    before = [self._ending or '\n' * self.prompt.endswith('\n') or '.']
    return [continued(encode, before, text) for text in self.targets]

  @property
  def draft_form(self) -> AnswerTemplate:
    """Returns the form of a draft: the prompt's last words and a slot for an option.

    As in the prompt itself, so that the decoder reads there what it is to write here.
    """
    words = [f' {option}' for option in self.options]
    parts = [self._ending.strip()] * bool(self._ending.strip()) + [None]
    return AnswerTemplate(parts, words, self.slot_options)

  @property
  def slot_options(self) -> Options:
    """Returns which of the words can fill the slot of a draft: all options."""
    return Options((0,), len(self.options))

  def grammar(
    self, encode: Callable[[str], Sequence[int]], eos_id: int
  ) -> grammar.Grammar:
    """Returns the automaton of the answers: each option as it follows the prompt.

    Args:
      encode: function from a text to its token ids.
      eos_id: id of the end-of-sequence token.
    """
    phrases = [(tokens, grammar.END) for tokens in self.target_tokens(encode)]
    return grammar.compiled('start', lambda _: phrases, eos_id)

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
  ) -> dict[str, Any]:
    """Returns an example's row of the prediction table, without the columns of the run.

    Args:
      example: `example_id`, `user_id` and, if the question asks about items, `item_id`.
      text: text that the language model wrote.
      log_prob: log probability of the text, nats.
      history_length: number of interactions that the model saw.
      probabilities: probability of each option in the draft; empty without a draft.
    """
    answer, odds = self.parse(text), [float(x) for x in probabilities]
    about = ('example_id', 'user_id', *(['item_id'] if self.asks_item else []))
    return {
      **{name: example[name] for name in about},
      'answer': answer.option,
      'draft_answer': self.options[odds.index(max(odds))] if odds else None,
      'draft_probabilities': odds,
      'text': text,
      'log_prob': float(log_prob),
      'parse_ok': answer.ok,
      'history_length': history_length,
      'task': self.name,
    }

  def check(self, encode: Callable[[str], Sequence[int]], unk_id: int | None) -> None:
    """Checks that a vocabulary can write each option, differently from the others.

    Args:
      encode: function from a text to its token ids.
      unk_id: id of the unknown token; None if every text has tokens.

    Raises:
      ValueError: an option has an unknown token, or the tokens of another one.
    """
    tokens = [tuple(ids) for ids in self.target_tokens(encode)]
    for option, ids in zip(self.options, tokens, strict=True):
      if unk_id in ids or tokens.count(ids) > 1:
        raise ValueError(
          f'question {self.name}: the vocabulary has no tokens of its own for option '
          f'{option!r}: expected other words, or another decoder'
        )
