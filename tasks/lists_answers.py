"""Binds the inference engine to a question with two lists, for `tasks.predictor`."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from persoma_tf.inference.engine import Answered
from persoma_tf.inference.grammar import Grammar
from tasks import genre_prediction, item_vectors, schema, text_history
from tasks.answer_grammar import answer_grammar
from tasks.histories import data_folders, load_genres
from tasks.history_columns import HistoryColumns
from tasks.questions import Question, in_other_words
from tasks.vocabularies import DecoderVocabulary


class ListsAnswers:
  """Asks a question with two lists, and writes the answers as rows.

  Attributes:
    kinds: kind of each field of a record.
    key: name of the field that identifies a record.
    prompt: token ids of the task prompt of all users.
    options: words that can fill the slots of a draft.
  """

  kinds = schema.HISTORY
  key = 'user_id'

  def __init__(self, question: Question, vocabulary: DecoderVocabulary, as_text: bool):
    """Reads the genres of the recipe's folder."""
    self._question, self._vocabulary = question, vocabulary
    folders = data_folders()
    self._genres = load_genres(folders.histories_dir).names
    self.prompt = vocabulary.encode(question.prompt)
    self._encode = vocabulary.encode
    if as_text:
      self._encode = functools.partial(text_history.after_line, vocabulary)
      nouns = item_vectors.load_words(folders.embeddings_dir)
      load = text_history.load_interactions
      self._interactions = load(folders.histories_dir, nouns, question.prompt)
      self.prompt = self._interactions.task_prompt
    self.options = question.options(len(self._genres))

  def longest(self) -> int:
    """Returns the number of tokens of the longest answer."""
    return genre_prediction.feature_lengths()['targets']

  def option_tokens(self) -> None:
    """Returns None: the answers are too many to score each of them."""

  def grammar(self) -> Grammar:
    """Returns the grammar of all answers."""
    return answer_grammar(self._genres, self._vocabulary, self._question)

  def problem(self, history: Mapping[str, Any]) -> str | None:
    """Returns the reason why a record cannot be asked about; None without one."""
    del history

  def task_prompt(self, history: Mapping[str, Any], words: str = '') -> str:
    """Returns the task prompt of a record; `words` is another one.

    Raises:
      ValueError: the words are a template, which nothing could fill.
    """
    del history
    if not words:
      return self._question.prompt
    if {*words} & {*'{}'}:
      raise ValueError(
        f'question {self._question.name} is about a user, so no item or example fills '
        'what a prompt names: expected a prompt without { and }'
      )
    return in_other_words(self._question, words).prompt

  def own_prompt(
    self, history: Mapping[str, Any], limits, words: str = ''
  ) -> np.ndarray | None:
    """Returns the tokens of a record's own prompt; None if all have one.

    Args:
      history: the record.
      limits: limits of the history.
      words: another prompt, see `task_prompt`.
    """
    asked = self._encode(self.task_prompt(history, words)) if words else self.prompt
    if limits.text_tokens:
      shown = self._interactions.prompt(HistoryColumns.of_record(history), limits)
      asked = [*shown[: -len(self.prompt)].tolist(), *asked]
    return np.array(asked, np.int32) if words or limits.text_tokens else None

  def asked_rows(self, history: Mapping[str, Any]) -> np.ndarray:
    """Returns the rows of the items that are asked about: none."""
    del history
    return np.zeros(0, np.int64)

  def draft(self, words: Sequence[int]) -> tuple[list[str], list[str]]:
    """Returns the liked and disliked genres that the words in the slots name."""
    return self._question.draft(words, self._genres)

  def draft_tokens(self, words: Sequence[int]) -> list[int]:
    """Returns the tokens of the answer that the words in the slots make."""
    return self._vocabulary.encode(self._question.answer(*self.draft(words)))

  def row(
    self, history: Mapping[str, Any], text: str, answer: Answered, size: int
  ) -> dict[str, Any]:
    """Returns a row of the table, without the columns of the run."""
    return self._question.row(
      history['user_id'],
      text,
      answer.log_prob,
      size,
      self._genres,
      self.draft(answer.draft or ()),
    )
