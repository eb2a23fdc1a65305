"""Defines the ranking: a question about a user, answered with one of some candidates.

    Which movie will the user watch next?

Every example has candidates of its own, which are items in an order that tells nothing.
The model writes the number of a candidate: 7 is the seventh one. So a ranking is a
choice whose options are the numbers from 1 on, and the first of them can be written for
every example. The draft finds a score for each candidate, and its order is the ranking.

Where the prompt has `{candidates}`, the decoder reads them as a list:

    1. Heat (1995)
    2. Toy Story (1995)
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tasks import schema
from tasks.answers.choice import Choice
from tasks.text_templates import read_template

CANDIDATES = 'candidates'  # their name in a prompt


@dataclasses.dataclass(frozen=True)
class Rank(Choice):
  """Holds the words of a question that is answered with one of an example's candidates.

  Attributes:
    options: numbers from 1 to C, the most candidates that an example has, as texts.
    asks_item: False, for the candidates are what is asked about.
    candidate: template of a candidate in the prompt, over the columns of its item; ''
      for a prompt without candidates.

  Raises:
    ValueError: as of a choice, or the options are other texts, or only one of prompt
      and `candidate` tells of candidates.
  """

  KIND: ClassVar[str] = 'rank'

  asks_item: bool = dataclasses.field(default=False, kw_only=True)
  candidate: str = dataclasses.field(default='', kw_only=True)

  def __post_init__(self):
    super().__post_init__()
    if self.options != tuple(str(at + 1) for at in range(len(self.options))):
      self._refuse('options', "numbers from 1 on, such as ('1', '2', '3')")
    if self.asks_item:
      self._refuse('asks_item', 'False, for the candidates are what is asked about')
    if other := [x for x in self._own_names if x != CANDIDATES]:
      self._refuse('prompt', f'only names in fields={self.fields}, and not {other}')
    if bool(self.candidate) != bool(self._own_names):
      self._refuse('candidate', 'a text if, and only if, {candidates} is in the prompt')

  @property
  def _own_names(self) -> tuple[str, ...]:
    """Returns the names in the prompt that no column fills."""
    return super().item_fields

  @property
  def item_fields(self) -> tuple[str, ...]:
    """Returns the columns of an item that the text of a candidate names."""
    return read_template(self.candidate).fields

  def write_prompt(
    self, items: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]
  ) -> str:
    """Writes the prompt of an example, with its candidates as a numbered list."""
    text = read_template(self.candidate)
    lines = (f'{at}. {text.write(row)}' for at, row in enumerate(items, 1))
    return self.template.write({CANDIDATES: '\n'.join(lines), **fields})

  @property
  def num_asked(self) -> int:
    """Returns C, the most candidates that an example has."""
    return len(self.options)

  @property
  def asked_field(self) -> str:
    """Returns the feature of a stored example with its candidates."""
    (name,) = schema.CANDIDATES
    return name

  @property
  def record_kinds(self) -> dict[str, str]:
    """Returns the kind of each feature of a stored example."""
    return super().record_kinds | schema.CANDIDATES

  def row(
    self,
    example: Mapping[str, Any],
    text: str,
    log_prob: float,
    history_length: int,
    probabilities: Sequence[float] = (),
    decoder_probabilities: Sequence[float] = (),
  ) -> dict[str, Any]:
    """Returns a row with the candidates, best first, and their probabilities.

    They are ordered by the draft's probabilities, or without any by the decoder's.

    Args:
      example: `example_id`, `user_id` and `candidates`, the ids of its candidates.
      text: text that the language model wrote.
      log_prob: log probability of the text, nats.
      history_length: number of interactions that the model saw.
      probabilities: probability of each option in the draft; empty without a draft.
      decoder_probabilities: probability of each option to the language model; empty if
        none was scored.
    """
    ids = [*example['candidates']]
    found = self.parse(text).option
    chosen = int(found) - 1 if found and int(found) <= len(ids) else None
    draft, decoder = (
      _shares(told, len(ids)) for told in (probabilities, decoder_probabilities)
    )
    told = draft if len(draft) else decoder
    order = np.argsort(-told, kind='stable') if len(told) else np.arange(len(ids))
    ranked = [ids[at] for at in order]
    return {
      **self._row(example, text, log_prob, history_length, chosen is not None),
      'answer': None if chosen is None else ids[chosen],
      'draft_answer': ranked[0] if len(draft) else None,
      'candidates': ranked,
      'draft_probabilities': draft[order].tolist() if len(draft) else [],
      'decoder_probabilities': decoder[order].tolist() if len(decoder) else [],
    }


def _shares(told: Sequence[float], number: int) -> np.ndarray:
  """Returns the probabilities of the first options with the sum 1; empty without any.

  They are equal if only other options are likely.
  """
  if not len(told):
    return np.zeros(0)
  found = np.asarray(told, np.float64)[:number]
  total = found.sum()
  return found / total if total > 0 else np.full(number, 1 / number)
