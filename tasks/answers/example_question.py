"""Defines a question about an example: its prompt, and how answers follow it.

    Will the reader like {title} by {author}?

The prompt is a template (`tasks.text_templates`), so it differs from example to
example. Its names are columns of the examples' own file (`fields`), or else of the item
that is asked about.

The answer follows after a space, as a text goes on: if the prompt does not end in white
space, the target is ' Yes' and not 'Yes'. Vocabularies have a token for the word with
its space, which the decoder expects there. Behind white space the target is the answer
itself.

A kind of answer is a subclass, in a module of its own. It says how an answer is written
and read back, which answers there are, what a draft of one looks like, and what the
prediction table tells of it.
"""

import abc
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from persoma_tf.answer_form import Options
from persoma_tf.inference.grammar import Grammar
from persoma_tf.tokenizers.plain_text import continued
from tasks import schema
from tasks.text_templates import TextTemplate, read_template

Encode = Callable[[str], Sequence[int]]


@dataclasses.dataclass(frozen=True)
class ExampleQuestion(abc.ABC):
  """Holds the words of a question about an example.

  Attributes:
    name: name of the question, ends in a version, such as '_v1'; the value of column
      `task` of the predictions.
    prompt: template of the task prompt, which follows the history.
    fields: names in the prompt that are columns of the examples' own file.
    asks_item: whether every example is about an item. All other names in the prompt are
      then columns of the item.

  Raises:
    ValueError: the words make no question.
  """

  KIND: ClassVar[str]  # in the words of a question

  name: str
  prompt: str
  fields: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
  asks_item: bool = dataclasses.field(default=True, kw_only=True)

  def __post_init__(self):
    object.__setattr__(self, 'fields', tuple(self.fields))  # a list in JSON
    if not re.fullmatch(r'\w+_v\d+', self.name):
      self._refuse('name', 'a name with a version, such as book_like_v1')
    if not self.prompt:
      self._refuse('prompt', 'a text')
    # Read for all: a prompt that is no template is an error here.
    if self.item_fields and not self.num_asked:
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

  def write_prompt(
    self, items: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]
  ) -> str:
    """Writes the prompt of an example.

    Args:
      items: value of each of `item_fields`, of each item that is asked about.
      fields: value of each of `fields`, None for a missing one.
    """
    columns = items[0] if items else dict.fromkeys(self.item_fields)
    return self.template.write({**columns, **fields})

  @property
  def num_asked(self) -> int:
    """Returns the largest number of items that an example asks about."""
    return int(self.asks_item)

  @property
  def asked_field(self) -> str:
    """Returns the feature of a stored example with the items that it is about."""
    return 'example_item'

  def about(self, example: Mapping[str, Any], item_ids: pa.Array) -> dict[str, Any]:
    """Returns an example with the ids of the items that it asks about, for `row`.

    Args:
      example: a stored example.
      item_ids: ids of all items, in the order of the item table.
    """
    rows = np.asarray(example[self.asked_field][: self.num_asked], np.int64)
    ids = item_ids.take(rows).to_pylist()
    return {**example, 'item_id': (*ids, None)[0], 'candidates': ids}

  @property
  def record_kinds(self) -> dict[str, str]:
    """Returns the kind of each feature of a stored example."""
    return schema.example_kinds(self.fields)

  @property
  def ending(self) -> str:
    """Returns the end of every prompt: what stands behind the last sign and line."""
    return re.split(r'[{}\[\]|]', self.prompt)[-1].lstrip().rpartition('\n')[2]

  def draft_parts(self, slots: int) -> list[str | None]:
    """Returns the parts of a draft: the prompt's last words and slots, each None.

    As in the prompt itself, so that the decoder reads there what it is to write here.

    Args:
      slots: number of slots.
    """
    ending = self.ending.strip()
    return [ending] * bool(ending) + [None] * slots

  @property
  def before(self) -> str:
    """Returns what stands before an answer, as far as its tokens depend on it."""
    return self.ending or '\n' * self.prompt.endswith('\n') or '.'

  def target(self, answer: str) -> str:
    """Returns the text of an answer as it follows the prompt."""
    return answer if self.prompt[-1].isspace() else f' {answer}'

  def answer_tokens(self, answer: str, encode: Encode) -> list[int]:
    """Returns the token ids of an answer as it follows the prompt.

    Args:
      answer: the answer.
      encode: function from a text to its token ids.
    """
    return continued(encode, [self.before], self.target(answer))

  def option_tokens(self, encode: Encode) -> list[list[int]] | None:
    """Returns the token ids of each option as it follows the prompt; None without any.

    Args:
      encode: function from a text to its token ids.
    """
    del encode

  @property
  def slot_options(self) -> Options:
    """Returns which options can fill the slots of a draft; none without options."""
    return Options()

  def check(self, encode: Encode, unk_id: int | None) -> None:
    """Checks that a vocabulary can write the answers.

    Args:
      encode: function from a text to its token ids.
      unk_id: id of the unknown token; None if every text has tokens.

    Raises:
      ValueError: it cannot.
    """
    del encode, unk_id

  @abc.abstractmethod
  def label(self, answer: str, encode: Encode) -> tuple[list[int], list[int]]:
    """Returns what an example with this answer is trained on.

    Args:
      answer: the answer in the data.
      encode: function from a text to its token ids.

    Returns:
      (token ids of the target, number of the word in each slot of a draft).

    Raises:
      ValueError: the question has no such answer.
    """

  @abc.abstractmethod
  def longest(self, encode: Encode) -> int:
    """Returns the number of tokens of the longest answer, without its end."""

  def grammar(self, encode: Encode, eos_id: int) -> Grammar | None:
    """Returns the grammar of the answers; None if every text is one.

    Args:
      encode: function from a text to its token ids.
      eos_id: id of the end-of-sequence token.
    """
    del encode, eos_id

  @abc.abstractmethod
  def row(
    self,
    example: Mapping[str, Any],
    text: str,
    log_prob: float,
    history_length: int,
    probabilities: Sequence[float] = (),
    decoder_probabilities: Sequence[float] = (),
  ) -> dict[str, Any]:
    """Returns an example's row of the prediction table, without the columns of the run.

    Args:
      example: what `about` returns: `example_id`, `user_id` and, if the question asks
        about items, `item_id`.
      text: text that the language model wrote.
      log_prob: log probability of the text, nats.
      history_length: number of interactions that the model saw.
      probabilities: probability of each option in the draft; empty without a draft.
      decoder_probabilities: probability of each option to the language model; empty if
        none was scored.
    """

  def _row(self, example, text, log_prob, history_length, parse_ok) -> dict[str, Any]:
    """Returns the columns of a row that all kinds of answers have."""
    about = ('example_id', 'user_id', *(['item_id'] if self.asks_item else []))
    return {
      **{name: example[name] for name in about},
      'text': text,
      'log_prob': float(log_prob),
      'parse_ok': parse_ok,
      'history_length': history_length,
      'task': self.name,
    }
