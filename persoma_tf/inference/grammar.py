"""Keeps answers to a form: tells which tokens may come next, no name twice in a list.

An answer goes from place to place, with a phrase at each. The phrases of all places are
one trie over tokens, so its size does not depend on the length of lists. Which phrases
a place has, and which names a list already has, is looked up for each token.
"""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

END = None  # the place after a whole answer


class Phrase(NamedTuple):
  """Holds a text that answers can have.

  Attributes:
    text: the text, for error messages.
    tokens: its token ids.
    kind: what places call phrases like it.
    name: number of the name in it, which a list has only once; -1 without a name.
  """

  text: str
  tokens: Sequence[int]
  kind: Hashable
  name: int = -1


class FormPlace(NamedTuple):
  """Holds what may stand at a place of an answer.

  Attributes:
    after: kind of a phrase -> the place after it: the number of a later one, or END. A
      kind that ends answers at one place does so at all.
    named: number of the names right before it that must not stand here again.
  """

  after: Mapping[Hashable, int | None]
  named: int = 0


class Reached(NamedTuple):
  """Holds how far R answers are written.

  Attributes:
    state: [R] int32 state of the trie.
    place: [R] int32 place in the form. It is that after a phrase as soon as the tokens
      so far are those of one phrase only.
    names: [R, N] int32 names of the list so far, padded with -1.
  """

  state: Array
  place: Array
  names: Array


class Grammar(NamedTuple):
  """Holds a trie of F phrases, in the order of their tokens, and a form of P places.

  State 0 is the root of the trie. Where only one phrase goes on, the states are those
  of the tokens left, which phrases share.

  Attributes:
    tokens: [E] int32 token id of each edge, by state and then in ascending order.
    next: [E] int32 state after it.
    low: [E] int32 first phrase below it; 0 if the state before has one phrase only.
    high: [E] int32 phrase behind the last one below it, or 0.
    told: [E] int32 the only phrase below it, if the state before has more; else -1.
    first: [states + 1] int32 first edge of each state.
    kinds: [F] int32 kind of each phrase.
    names: [F] int32 name in each phrase, or -1.
    phrases: [names + 1, K] int32 phrase of each kind with a name; -1 where there is
      none, as in the last row.
    after: [P, K] int32 place after a phrase of each kind; -1 if it must not stand here.
    named: [P] int32 `FormPlace.named`.
    below: [P, F + 1] int32 number of phrases of a place among the first 0, 1, ... F.
    start: state in which answers start.
    width: M, maximum number of tokens that may come next.
  """

  tokens: Array
  next: Array
  low: Array
  high: Array
  told: Array
  first: Array
  kinds: Array
  names: Array
  phrases: Array
  after: Array
  named: Array
  below: Array
  start: int
  width: int

  def as_lists(self) -> dict[str, Any]:
    """Returns name -> value of the fields, for `vllm_server.FormWalk` and JSON."""
    return {name: np.asarray(x).tolist() for name, x in self._asdict().items()}

  def begin(self) -> Reached:
    """Returns how far an answer (R = 1) without tokens is written."""
    names = np.full((1, np.asarray(self.named).max()), -1, np.int32)
    return Reached(np.array([self.start], np.int32), np.zeros(1, np.int32), names)

  def forced(self) -> tuple[list[int], Reached]:
    """Returns the tokens that every answer starts with, and how far one is with them.

    They end before the first name, if not before.
    """
    trie, tokens = jax.device_get(self), []
    end, state, place = len(trie.after) - 1, self.start, 0
    while (state, place) != (0, end):
      edges = np.arange(*trie.first[state : state + 2])
      edges = edges[_stands(trie, place)[edges]]
      phrase = trie.told[edges[0]]
      if len(edges) > 1 or (phrase >= 0 and trie.names[phrase] >= 0):
        break
      tokens.append(int(trie.tokens[edges[0]]))
      state = int(trie.next[edges[0]])
      place = int(trie.after[place, trie.kinds[phrase]]) if phrase >= 0 else place
    reached = np.array([[state], [place]], np.int32)
    return tokens, Reached(*reached, self.begin().names)

  def allowed(self, reached: Reached) -> Array:
    """Returns the edges [R, M] int32 of the tokens that may come next.

    They stand in ascending order, as if there were no others, and are padded with -1:
    random draws do not depend on what is not allowed.
    """
    rows, most = len(reached.state), np.diff(np.asarray(self.first)).max()
    edges = self.first[reached.state][:, None] + jnp.arange(most)
    real = edges < self.first[reached.state + 1][:, None]
    low, high, place = self.low[edges], self.high[edges], reached.place[:, None]
    left = self.below[place, high] - self.below[place, low]
    # Of the phrases that the place has, those with a name of the list are not left.
    taken = jnp.where(self.after[place] >= 0, self.phrases[reached.names], -1)
    taken = taken.reshape(rows, 1, -1)
    left -= jnp.sum((low[..., None] <= taken) & (taken < high[..., None]), -1)
    real &= (left > 0) | (low == high)
    column = jnp.where(real, jnp.cumsum(real, 1) - 1, self.width)
    found = jnp.full((rows, self.width), -1)
    return found.at[jnp.arange(rows)[:, None], column].set(edges, mode='drop')

  def reach(self, reached: Reached, edges: Array) -> Reached:
    """Returns how far answers are written with one more token each.

    Args:
      reached: how far they are.
      edges: [R] int32 edges of the tokens; -1 changes nothing.
    """
    real, phrase = edges >= 0, self.told[edges]
    told = real & (phrase >= 0)
    place = self.after[reached.place, self.kinds[phrase]]
    newest = self.named[place][:, None] - 1
    slots = jnp.arange(reached.names.shape[1])
    name = self.names[phrase][:, None]
    names = jnp.where(
      slots < newest, reached.names, jnp.where(slots == newest, name, -1)
    )
    return Reached(
      jnp.where(real, self.next[edges], reached.state),
      jnp.where(told, place, reached.place),
      jnp.where(told[:, None], names, reached.names),
    )


def compiled(
  phrases: Sequence[Phrase],
  places: Sequence[FormPlace],
  eos_id: int,
  opening: Sequence[int] = (),
) -> Grammar:
  """Compiles the grammar of a form.

  Args:
    phrases: phrases of all places, two at least.
    places: places of an answer, which begins at the first.
    eos_id: id of the end-of-sequence token, which follows an answer and itself.
    opening: tokens before the first phrase.

  Raises:
    ValueError: phrases have the same tokens, or one begins with all tokens of another,
      or a place has no phrases but those with names before it.
  """
  ends = {kind for place in places for kind, to in place.after.items() if to is END}
  whole = lambda x: (*x.tokens, *[eos_id] * (x.kind in ends))
  order = [phrase._replace(tokens=whole(phrase)) for phrase in phrases]
  order = sorted([*order, Phrase('', (eos_id,), END)], key=lambda x: x.tokens)
  for one, other in itertools.pairwise(order):
    if other.tokens[: len(one.tokens)] == one.tokens:
      raise ValueError(
        f'grammar: {other.text!r} begins with the tokens of {one.text!r}, which is not '
        'told apart from it: use other names, or set constrained=False'
      )
  trie, form = _trie(order, opening), _form(order, [*places, FormPlace({END: END})])
  made = Grammar(**trie, **form, start=int(len(opening) > 0), width=0)
  width = lambda place: np.add.reduceat(_stands(made, place), made.first[:-1]).max()
  made = made._replace(width=int(max(map(width, range(len(made.after))))))
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.int32) if np.ndim(x) else x, made)


def _trie(order: Sequence[Phrase], opening: Sequence[int]) -> dict[str, np.ndarray]:
  """Returns the edges of a trie of sorted phrases, and of an opening before it."""
  edges, first, states = [], [0], {(): 0}  # states: by tokens left of a phrase
  todo = [(0, len(order), 0)]  # phrases below a state, number of their tokens so far
  if opening:
    order = [*order, Phrase('', opening, END)]
    todo.append((len(order) - 1, len(order), 0))
  for low, high, depth in todo:  # the list grows during the loop
    several, end = high - low > 1, low
    for token, some in itertools.groupby(x.tokens[depth] for x in order[low:high]):
      begin, end = end, end + len([*some])
      after, left = len(todo), order[begin].tokens[depth + 1 :]
      if end - begin == 1:
        after = states.setdefault(tuple(left), after)
      if after == len(todo):
        todo.append((begin, end, depth + 1))
      told = begin if several and end - begin == 1 else -1
      edges.append((token, after, begin * several, end * several, told))
    first.append(len(edges))
  columns = zip(
    ('tokens', 'next', 'low', 'high', 'told'), np.array(edges).T, strict=True
  )
  return {**dict(columns), 'first': np.array(first)}


def _form(
  order: Sequence[Phrase], places: Sequence[FormPlace]
) -> dict[str, np.ndarray]:
  """Returns the arrays of a form; its last place is that after a whole answer.

  Raises:
    ValueError: a place has no phrases but those with names before it.
  """
  numbers = {kind: n for n, kind in enumerate(dict.fromkeys(x.kind for x in order))}
  kinds = np.array([numbers[phrase.kind] for phrase in order])
  names = np.array([phrase.name for phrase in order])
  phrases = np.full((names.max() + 2, len(numbers)), -1)
  phrases[names, kinds] = np.arange(len(order))
  phrases[-1] = -1  # where the phrases without a name were written
  to = lambda place: len(places) - 1 if place is END else place
  after = [[to(place.after.get(kind, -1)) for kind in numbers] for place in places]
  after = np.array(after)
  below = np.cumsum(np.pad(after[:, kinds] >= 0, ((0, 0), (1, 0))), 1)
  named = np.array([place.named for place in places])
  for place, (size, before) in enumerate(zip(below[:, -1], named, strict=True)):
    if size <= before:
      raise ValueError(f'grammar: no phrase is left for place {place}')
  found = {'kinds': kinds, 'names': names, 'phrases': phrases, 'after': after}
  return {**found, 'named': named, 'below': below}


def _stands(grammar: Grammar, place: int) -> np.ndarray:
  """Tells which edges [E] a place has, if nothing was named before."""
  below, low, high = grammar.below[place], grammar.low, grammar.high
  return (below[high] > below[low]) | (low == high)
