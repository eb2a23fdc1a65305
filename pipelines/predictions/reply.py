"""Holds the answer about one user, and writes it as lines or JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from persoma_tf.units import format_duration

_MOST = 5  # options whose probabilities are shown
_SAID = {  # columns of all kinds of answers
  'draft': (
    *('draft_answer', 'draft_value', 'draft_liked', 'draft_disliked'),
    'draft_probabilities',
  ),
  'answer': (
    *('answer', 'value', 'predicted_liked', 'predicted_disliked'),
    'decoder_probabilities',
  ),
}


class Reply(NamedTuple):
  """Holds the answer about a user; as a text, it is lines to read.

  Attributes:
    split: split of the history or example; the model learned from those of 'train'.
    prompt: task prompt that was asked.
    history: the newest interactions as texts, newest first.
    row: the row of the prediction table, without the columns of the run.
    options: options of a choice, in the order of their probabilities in `row`.
    known: what the data say of the answer.
    soft_prompt: [K, D] float32, soft prompt of the user.
    seconds: time from the question to the answer; of the first, with loading.
  """

  split: str
  prompt: str
  history: Sequence[str]
  row: Mapping[str, Any]
  options: Sequence[str]
  known: Mapping[str, Sequence[str]]
  soft_prompt: np.ndarray
  seconds: float

  def as_json(self) -> str:
    """Returns all of it as JSON."""
    values = self._asdict() | {'soft_prompt': self.soft_prompt.tolist()}
    return json.dumps(values, ensure_ascii=False)

  def __str__(self) -> str:
    return '\n'.join(self._lines())

  def _lines(self) -> Iterator[str]:
    row, (tokens, width) = self.row, self.soft_prompt.shape
    about = [f'{x} {row[f"{x}_id"]}' for x in ('example', 'item') if f'{x}_id' in row]
    yield ', '.join([f'user {row["user_id"]}', f'split {self.split}', *about])
    yield f'history: {row["history_length"]} interactions, the newest:'
    yield from (f'  {text}' for text in self.history)
    yield f'soft prompt: {tokens} tokens of {width} numbers'
    yield f'prompt: {self.prompt!r}'
    for what, columns in _SAID.items():
      told = [self._part(name) for name in columns if row.get(name) not in (None, [])]
      yield f'{what}: {"; ".join(told) or "none"}'
    yield f'text: {row["text"]!r}, log probability {row["log_prob"]:.2f}'
    said = [f'{name} {", ".join(texts)}' for name, texts in self.known.items() if texts]
    yield f'the data say: {"; ".join(said) or "nothing"}'
    yield format_duration(self.seconds)

  def _part(self, name: str) -> str:
    """Writes the value of a column."""
    value = self.row[name]
    if name.endswith('probabilities'):
      pairs = sorted(zip(value, self.options, strict=True), reverse=True)[:_MOST]
      return f'probabilities {", ".join(f"{x} {odds:.3f}" for odds, x in pairs)}'
    if isinstance(value, list):
      return f'{name.rpartition("_")[2]} {", ".join(value)}'
    return f'expected number {value:.2f}' if isinstance(value, float) else value
