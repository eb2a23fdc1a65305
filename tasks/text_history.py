"""Histories as text in the prompt: the baseline of soft prompts."""

import functools
import itertools
import pathlib
from typing import NamedTuple

import gin
import numpy as np
import pyarrow.parquet as pq
import seqio

from tasks import interaction_texts, questions, vocabularies


class HistoryLimits(NamedTuple):
  """How much of a history is shown, the newest of it."""

  items: int
  text_tokens: int


@gin.configurable
def history_limits(items: int = gin.REQUIRED, text_tokens: int = 0) -> HistoryLimits:
  """How much of a history the model sees.

  Args:
    items: N, interactions.
    text_tokens: what they may take as text, for the tasks that show them so.
  """
  return HistoryLimits(items, text_tokens)


class Interactions:
  """Every (item, rating) of a data set as tokens."""

  def __init__(
    self,
    histories_dir: str,
    vocabulary: seqio.Vocabulary,
    nouns: interaction_texts.Nouns,
    task_prompt: str,
  ):
    """Reads the item table of a histories folder."""
    self._vocabulary, self._nouns = vocabulary, nouns
    items = pq.read_table(pathlib.Path(histories_dir) / 'items.parquet')
    self._names = interaction_texts.title_genres(items, nouns)
    self._task_prompt = vocabulary.encode(task_prompt)
    self._tokens = functools.cache(self._encode)

  def _encode(self, item, rating):
    text = (
      interaction_texts.interaction_sentence(self._names[item], rating, self._nouns)
      + '\n'
    )
    return self._vocabulary.encode(text)

  def prompt(
    self, items: np.ndarray, ratings: np.ndarray, limits: HistoryLimits
  ) -> np.ndarray:
    """A history as text, then the task prompt.

    Args:
      items: [n] row numbers of the item table, newest first.
      ratings: [n] float32 stars.
      limits: what does not fit whole is left out, the oldest first.

    Returns:
      [at most text_tokens + T] int32.
    """
    tokens: list[int] = []
    pairs = zip(items.tolist(), ratings.tolist(), strict=True)
    for item, rating in itertools.islice(pairs, limits.items):
      sentence = self._tokens(item, rating)
      if len(tokens) + len(sentence) > limits.text_tokens:
        break
      tokens += sentence
    tokens += self._task_prompt
    return np.array(tokens, np.int32)


def load_interactions(
  histories_dir: str,
  nouns: interaction_texts.Nouns = interaction_texts.MOVIELENS,
  task_prompt: str = questions.TASK_PROMPT,
) -> Interactions:
  """One `Interactions` a folder, wording, vocabulary and process."""
  vocabulary = vocabularies.task_vocabulary()
  return _load_interactions(histories_dir, vocabulary, nouns, task_prompt)


@functools.cache
def _load_interactions(histories_dir, vocabulary, *words):
  return Interactions(histories_dir, vocabularies.load_vocabulary(vocabulary), *words)
