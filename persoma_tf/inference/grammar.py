"""Compiles a grammar into an automaton that names the tokens allowed at each step."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

END = None  # the state after a whole answer
Choices = Callable[[Hashable], Iterable[tuple[Sequence[int], Hashable]]]


class Grammar(NamedTuple):
  """Holds a deterministic automaton over tokens; state 0 is the start of an answer.

  Attributes:
    tokens: [states, M] int32 token ids that may come next, padded with -1.
    next: [states, M] int32 state after each token.
  """

  tokens: np.ndarray
  next: np.ndarray

  def forced(self) -> tuple[list[int], int]:
    """Returns the tokens that every answer starts with, and the state after them.

    Raises:
      ValueError: the grammar has only one answer, and it never ends.
    """
    tokens, state = [], 0
    while (self.tokens[state] >= 0).sum() == 1 and self.next[state, 0] != state:
      if len(tokens) == len(self.tokens):
        raise ValueError('grammar: the only answer never ends')
      tokens.append(int(self.tokens[state, 0]))
      state = int(self.next[state, 0])
    return tokens, state


def compiled(start: Hashable, choices: Choices, eos_id: int) -> Grammar:
  """Compiles a grammar of phrases into an automaton, by subset construction.

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
  return Grammar(
    np.array([padded(row, -1) for row in rows], np.int32),
    np.array([padded(row.values(), 0) for row in rows], np.int32),
  )
