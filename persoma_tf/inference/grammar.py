"""Which tokens may follow which: an automaton that keeps answers in their form."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

END = None  # the state after a whole answer
Choices = Callable[[Hashable], Iterable[tuple[Sequence[int], Hashable]]]


class Grammar(NamedTuple):
  """A deterministic automaton over tokens; state 0 is the start of an answer.

  Attributes:
    tokens: [states, M] int32, what may come next; -1 where there is no further choice.
    next: [states, M] int32, the state behind each.
  """

  tokens: np.ndarray
  next: np.ndarray

  def forced(self) -> tuple[list[int], int]:
    """The tokens that every answer begins with, and the state behind them.

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
  """The automaton of a grammar of phrases, by subset construction.

  Args:
    start: the grammar's first state.
    choices: what may follow in a state: phrases as token ids, each with the state
      behind it. A phrase may begin like another one. Behind END nothing follows.
    eos_id: follows a whole answer, and itself.

  Raises:
    ValueError: a state other than END leads nowhere.
  """

  def settled(items) -> frozenset:
    """What may come: (tokens that are left of a phrase, state behind it)."""
    found, todo = set(), list(items)
    while todo:
      left, state = todo.pop()
      if left:
        found.add((left, state))
      elif state is END:
        found.add(((eos_id,), END))
      else:
        todo += [(tuple(phrase), behind) for phrase, behind in choices(state)]
    if not found:
      raise ValueError(f'grammar: no phrase follows {sorted(map(str, items))}')
    return frozenset(found)

  numbers = {settled([((), start)]): 0}
  rows, todo = [], list(numbers)
  for items in todo:  # grows while it is read
    row = {}
    for token in sorted({left[0] for left, _ in items}):
      behind = settled([(x[1:], state) for x, state in items if x[0] == token])
      if behind not in numbers:
        numbers[behind] = len(numbers)
        todo.append(behind)
      row[token] = numbers[behind]
    rows.append(row)
  width = max(map(len, rows))
  padded = lambda values, fill: [*values] + [fill] * (width - len(values))
  return Grammar(
    np.array([padded(row, -1) for row in rows], np.int32),
    np.array([padded(row.values(), 0) for row in rows], np.int32),
  )
