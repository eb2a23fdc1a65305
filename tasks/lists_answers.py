"""Binds the inference engine to a question with two lists, for `tasks.predictor`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from persoma_tf.inference.engine import Answered
from persoma_tf.inference.grammar import Grammar
from tasks import genre_prediction, item_vectors, schema, text_history
from tasks.answer_grammar import answer_grammar
from tasks.histories import data_folders, load_genres
from tasks.questions import Question
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
    nouns = item_vectors.load_words(folders.embeddings_dir)
    self._interactions = text_history.load_interactions(
      folders.histories_dir, nouns, question.prompt
    )
    self.prompt = (
      self._interactions.task_prompt if as_text else vocabulary.encode(question.prompt)
    )
    self.options = question.options(len(self._genres))

  def longest(self) -> int:
    """Returns the number of tokens of the longest answer."""
    return genre_prediction.feature_lengths()['targets']

  def grammar(self) -> Grammar:
    """Returns the automaton of all answers."""
    return answer_grammar(self._genres, self._vocabulary, self._question)

  def problem(self, history: Mapping[str, Any]) -> str | None:
    """Returns the reason why a record cannot be asked about; None without one."""
    del history

  def own_prompt(self, history: Mapping[str, Any], limits) -> np.ndarray | None:
    """Returns the tokens of a record's own prompt; None if all have one."""
    if not limits.text_tokens:
      return None
    items, ratings = history['history_items'], history['history_ratings']
    return self._interactions.prompt(items, ratings, limits)

  def asked_row(self, history: Mapping[str, Any]) -> int | None:
    """Returns the row of the item that is asked about; None without one."""
    del history

  def draft(self, words: Sequence[int]) -> tuple[list[str], list[str]]:
    """Returns the liked and disliked genres that the words in the slots name."""
    return self._question.draft(words, self._genres)

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
