"""Walks through grammars, token by token."""

import jax
import numpy as np

from persoma_tf.inference.grammar import Grammar, Reached


class Walks:
  """Answers that are written side by side, as far as a grammar allows."""

  def __init__(self, grammar: Grammar):
    self._grammar = grammar
    self._allowed, self._reach = jax.jit(grammar.allowed), jax.jit(grammar.reach)

  def begin(self, rows: int) -> Reached:
    return jax.tree.map(lambda x: np.repeat(x, rows, 0), self._grammar.begin())

  def tokens(self, reached: Reached) -> np.ndarray:
    """[R, M] token ids that may come next, padded with -1."""
    edges = np.asarray(self._allowed(reached))
    return np.where(edges < 0, -1, np.asarray(self._grammar.tokens)[edges])

  def take(self, reached: Reached, columns) -> Reached:
    """With one more token each, from a column of `tokens`."""
    edges = np.asarray(self._allowed(reached))
    return self._reach(reached, edges[np.arange(len(edges)), columns])

  def after(self, tokens) -> set[int] | None:
    """The token ids that may come after others; None if these are not allowed."""
    reached = self.begin(1)
    for token in tokens:
      (columns,) = np.nonzero(self.tokens(reached)[0] == token)
      if not len(columns):
        return None
      assert len(columns) == 1, 'no token twice'
      reached = self.take(reached, columns)
    return {*self.tokens(reached)[0].tolist()} - {-1}

  def random(self, rows: int, steps: int, seed: int) -> np.ndarray:
    """[rows, steps] token ids of answers that are drawn."""
    rng, reached, found = np.random.default_rng(seed), self.begin(rows), []
    for _ in range(steps):
      tokens = self.tokens(reached)
      columns = rng.integers((tokens >= 0).sum(1))
      found.append(tokens[np.arange(rows), columns])
      reached = self.take(reached, columns)
    return np.stack(found, 1)
