"""Writes histories as text in the prompt, the baseline for soft prompts."""

import functools
import itertools
import pathlib
from typing import NamedTuple

import gin
import numpy as np
import pyarrow.parquet as pq
import seqio

from persoma_tf.setting_types import Count, Positive
from persoma_tf.tokenizers.plain_text import continued
from tasks import interaction_texts, questions, schema, vocabularies
from tasks.history_columns import HistoryColumns

_KEPT = 1 << 18  # sentences whose tokens are kept; events can have millions of texts


class HistoryLimits(NamedTuple):
  """Limits how much of a history the model sees; the newest interactions are kept.

  Attributes:
    items: N, maximum number of interactions.
    text_tokens: maximum number of tokens of the history as text; 0 if it is vectors.
  """

  items: int
  text_tokens: int


@gin.configurable
def history_limits(
  items: Positive = gin.REQUIRED, text_tokens: Count = 0
) -> HistoryLimits:
  """Returns the limits of a history.

  Args:
    items: N, maximum number of interactions.
    text_tokens: maximum number of tokens of the history as text, for the tasks with
      text in the prompt; 0 for the other tasks.
  """
  return HistoryLimits(items, text_tokens)


def check_text_limit(task: str) -> None:
  """Checks that the recipe of a task with the history as text allows text.

  Raises:
    ValueError: the recipe allows no text of the history.
  """
  if not history_limits().text_tokens:
    raise ValueError(
      f'task {task}: the history is text in the prompt, but history_limits.'
      'text_tokens is 0: set the number of tokens that it may have, such as 2048'
    )


def after_line(vocabulary: seqio.Vocabulary, text: str) -> list[int]:
  """Returns the token ids of a text that follows the end of a line."""
  return continued(vocabulary.encode, ['\n'], text)


class Interactions:
  """Writes the interactions of a data set as tokens.

  Attributes:
    task_prompt: token ids of the task prompt, which follows the history.
  """

  def __init__(
    self,
    histories_dir: str,
    vocabulary: vocabularies.DecoderVocabulary,
    words: interaction_texts.Words,
    task_prompt: str,
  ):
    """Reads the item table of a histories folder.

    Args:
      histories_dir: finished folder of `pipelines.build_histories`.
      vocabulary: vocabulary of the decoder.
      words: words or templates of the texts.
      task_prompt: prompt that follows the history.
    """
    self._vocabulary, self._words = vocabulary, words
    folder = pathlib.Path(histories_dir)
    items = pq.read_table(folder / 'items.parquet')
    self._names = interaction_texts.item_names(items, words)
    self._said = ['']  # of events without texts beside their items
    if (folder / schema.EVENT_TEXTS).exists():
      texts = pq.read_table(folder / schema.EVENT_TEXTS)
      self._said = interaction_texts.event_sentences(texts)
    self.task_prompt = after_line(vocabulary, task_prompt)
    vocabulary.notice_unknown(task_prompt, self.task_prompt)
    self._tokens = functools.lru_cache(_KEPT)(self._encode)

  def _encode(self, item, rating, text, first):
    parts = self._names[item], rating, self._words, self._said[text]
    text = interaction_texts.interaction_sentence(*parts) + '\n'
    vocabulary = self._vocabulary
    ids = vocabulary.encode(text) if first else after_line(vocabulary, text)
    vocabulary.notice_unknown(text, ids)
    return ids

  def prompt(self, history: HistoryColumns, limits: HistoryLimits) -> np.ndarray:
    """Writes a history as text, followed by the task prompt.

    Args:
      history: the interactions, newest first.
      limits: maximum size of the history; older interactions that do not fit are left
        out.

    Returns:
      [at most text_tokens + T] int32 token ids.
    """
    tokens: list[int] = []
    items, ratings, texts = (column.tolist() for column in history)
    rows = zip(items, ratings, texts or [0] * len(items), strict=True)
    for row in itertools.islice(rows, limits.items):
      sentence = self._tokens(*row, not tokens)
      if len(tokens) + len(sentence) > limits.text_tokens:
        break
      tokens += sentence
    tokens += self.task_prompt
    return np.array(tokens, np.int32)


def load_interactions(
  histories_dir: str,
  words: interaction_texts.Words = interaction_texts.MOVIELENS,
  task_prompt: str = questions.TASK_PROMPT,
) -> Interactions:
  """Loads the texts of a histories folder once per process and wording."""
  vocabulary = vocabularies.task_vocabulary()
  return _load_interactions(histories_dir, vocabulary, words, task_prompt)


@functools.cache
def _load_interactions(histories_dir, vocabulary, *words):
  return Interactions(histories_dir, vocabularies.load_vocabulary(vocabulary), *words)
