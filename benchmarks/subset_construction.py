"""The automaton of answers by subset construction, with a state for each set of names.

PERSOMA kept answers to their form with it until lists of a hundred names were asked
for. `benchmarks.grammars` measures the product's grammar beside it, and tests compare
the tokens that both allow.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from persoma_tf.tokenizers.plain_text import encode_after

END = None  # the state after a whole answer
Choices = Callable[[Hashable], Iterable[tuple[Sequence[int], Hashable]]]


class Automaton(NamedTuple):
  """A deterministic automaton over tokens, for `generate` like the product's `Grammar`.

  State 0 is the start of an answer; an edge is state * M + column.

  Attributes:
    rows: [states, M] int32 token ids that may come next, padded with -1.
    next: [states, M] int32 state after each token.
  """

  rows: np.ndarray
  next: np.ndarray

  @property
  def tokens(self) -> np.ndarray:
    """[E] token id of each edge."""
    return jnp.asarray(self.rows.ravel())

  @property
  def width(self) -> int:
    """M."""
    return self.rows.shape[1]

  def begin(self) -> np.ndarray:
    """[1] state in which answers start."""
    return np.zeros(1, np.int32)

  def forced(self) -> tuple[list[int], np.ndarray]:
    """The tokens that every answer starts with, and the state after them."""
    tokens, state = [], 0
    while (self.rows[state] >= 0).sum() == 1 and self.next[state, 0] != state:
      tokens.append(int(self.rows[state, 0]))
      state = self.next[state, 0]
    return tokens, np.array([state], np.int32)

  def allowed(self, state) -> Array:
    """[R, M] edges of the tokens that may come next, padded with -1."""
    edges = state[:, None] * self.width + jnp.arange(self.width)
    return jnp.where(jnp.asarray(self.rows)[state] < 0, -1, edges)

  def reach(self, state, edges) -> Array:
    """[R] states after edges."""
    return jnp.where(edges < 0, state, jnp.asarray(self.next.ravel())[edges])


class _Side(NamedTuple):
  """The side that is being written, and its names so far."""

  disliked: bool
  named: frozenset[str] = frozenset()


def lists_automaton(genres, vocabulary, question) -> Automaton:
  """The automaton of the answers to a question with two lists."""
  most = min(question.most, len(genres))
  comma, nothing, start = ',', '', 'start'
  after = lambda text: tuple(encode_after(vocabulary.encode, question.likes, text))
  words = {
    (name, follows): after(f' {name}{follows}')
    for name in (*genres, question.none)
    for follows in (comma, question.dislikes, nothing)
  }

  def choices(state):
    if state is start:
      return [(vocabulary.encode(question.likes), _Side(False))]
    follows, after = question.dislikes, _Side(True)
    if state.disliked:
      follows, after = nothing, END
    phrases = [] if state.named else [(words[question.none, follows], after)]
    for name in genres:
      if name not in state.named:
        named = state.named | {name}
        phrases.append((words[name, follows], after))
        if len(named) < most:
          phrases.append((words[name, comma], state._replace(named=named)))
    return phrases

  return automaton(start, choices, vocabulary.eos_id)


def automaton(start: Hashable, choices: Choices, eos_id: int) -> Automaton:
  """The automaton of a grammar of phrases.

  Args:
    start: first state of the grammar.
    choices: function from a state to the phrases that may follow, as pairs of token ids
      and the state after them. Phrases may have the same first tokens. It is not called
      with END.
    eos_id: id of the end-of-sequence token, which follows an answer and itself.

  Raises:
    ValueError: no phrase follows a state other than END.
  """

  def settled(items) -> frozenset:
    """Replaces items without tokens by the phrases that may follow.

    An item is a pair: (tokens left of a phrase, state after the phrase).
    """
    found, todo = set(), list(items)
    while todo:
      left, state = todo.pop()
      if left:
        found.add((left, state))
      elif state is END:
        found.add(((eos_id,), END))
      else:
        todo += [(tuple(phrase), after) for phrase, after in choices(state)]
    if not found:
      raise ValueError(f'grammar: no phrase follows {sorted(map(str, items))}')
    return frozenset(found)

  numbers = {settled([((), start)]): 0}
  rows, todo = [], list(numbers)
  for items in todo:  # the list grows during the loop
    row = {}
    for token in sorted({left[0] for left, _ in items}):
      after = settled([(left[1:], state) for left, state in items if left[0] == token])
      if after not in numbers:
        numbers[after] = len(numbers)
        todo.append(after)
      row[token] = numbers[after]
    rows.append(row)
  width = max(map(len, rows))
  padded = lambda values, fill: [*values] + [fill] * (width - len(values))
  return Automaton(
    np.array([padded(row, -1) for row in rows], np.int32),
    np.array([padded(row.values(), 0) for row in rows], np.int32),
  )
