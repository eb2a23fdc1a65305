"""Binds the inference engine to a question about examples, for `tasks.predictor`."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from persoma_tf.inference.engine import Answered
from persoma_tf.inference.grammar import Grammar
from tasks import item_vectors, text_history
from tasks.answers.example_question import ExampleQuestion
from tasks.answers.number import Number
from tasks.answers.rank import Rank
from tasks.example_prompts import ExamplePrompts, load_example_prompts
from tasks.histories import data_folders
from tasks.history_columns import HistoryColumns
from tasks.question_examples import field_features
from tasks.questions import in_other_words
from tasks.vocabularies import DecoderVocabulary


class ExampleAnswers:
  """Asks a question about examples, and writes the answers as rows.

  Attributes:
    kinds: kind of each field of a record.
    key: name of the field that identifies a record.
    prompt: token ids that stand in rows of a batch without an example.
    options: words that can fill the slot of a draft.
    needs_all_options: whether the decoder must tell the probabilities of all options,
      as an expected number needs them.
  """

  key = 'example_id'

  def __init__(
    self, question: ExampleQuestion, vocabulary: DecoderVocabulary, as_text: bool
  ):
    """Reads the items of the recipe's folder."""
    self._question, self._vocabulary = question, vocabulary
    self.needs_all_options = isinstance(question, Number)
    self._as_text = as_text
    self.kinds = question.record_kinds
    self.options, self.prompt = question.slot_options, vocabulary.encode('\n')[:1]
    self._prompts = load_example_prompts(question, as_text)
    self._in_words = functools.lru_cache(4)(self._reworded)
    folders = data_folders()
    self._histories_dir = folders.histories_dir
    if as_text:
      nouns = item_vectors.load_words(folders.embeddings_dir)
      load = text_history.load_interactions
      self._interactions = load(folders.histories_dir, nouns, '')
    elif question.num_asked:
      item_vectors.load_item_vectors(folders.embeddings_dir).require_items()
    items = pathlib.Path(folders.histories_dir) / 'items.parquet'
    self._item_ids = pq.read_table(items, columns=['item_id'])['item_id']

  def longest(self) -> int:
    """Returns the number of tokens of the longest answer."""
    # And the end of the sequence.
    return self._question.longest(self._vocabulary.encode) + 1

  def option_tokens(self) -> list[list[int]] | None:
    """Returns the token ids of each option, in order; None without options."""
    return self._question.option_tokens(self._vocabulary.encode)

  def grammar(self) -> Grammar | None:
    """Returns the grammar of all answers; None if every text is one."""
    return self._question.grammar(self._vocabulary.encode, self._vocabulary.eos_id)

  def problem(self, example: Mapping[str, Any]) -> str | None:
    """Returns the reason why a record cannot be asked about; None without one."""
    field, known = self._question.asked_field, self._prompts.num_items
    rows = np.asarray(example[field], np.int64)
    most = self._question.num_asked
    wrong = rows[(rows < 0) | (rows >= known)][:1] if most else ()
    if most and not len(rows):
      return f'{field} is missing'
    if len(wrong):
      return f'{field} is {wrong[0]}; the item table has rows 0 to {known - 1}'
    if self._question.KIND == Rank.KIND and len(rows) > most:
      return f'{field} has {len(rows)} items; the model ranks up to {most}'
    return None

  def task_prompt(self, example: Mapping[str, Any], words: str = '') -> str:
    """Returns the task prompt of a record; `words` is another template for it.

    Raises:
      ValueError: the template cannot be read, or names what nothing fills.
    """
    items, values = self._filling(example)
    fields = dict(zip(self._question.fields, values, strict=True))
    return self._in_words(words).write(items, fields)

  def _reworded(self, words) -> ExamplePrompts:
    if not words:
      return self._prompts
    question = in_other_words(self._question, words)
    return ExamplePrompts(
      question, self._histories_dir, self._vocabulary, self._as_text
    )

  def _filling(self, example):
    """Returns (rows of items, values of the question's own columns) of a record."""
    names = field_features(self._question)
    only = lambda values: values[0] if len(values) else None
    items = tuple(self.asked_rows(example).tolist())
    return items, tuple(only(example[name]) for name in names)

  def own_prompt(
    self, example: Mapping[str, Any], limits, words: str = ''
  ) -> np.ndarray:
    """Returns the tokens of a record's own prompt, behind the history if it is text.

    Args:
      example: the record.
      limits: limits of the history.
      words: another template for the prompt, see `task_prompt`.
    """
    tokens = self._in_words(words).tokens(*self._filling(example))
    if self._as_text:
      history = HistoryColumns.of_record(example)
      shown = self._interactions.prompt(history, limits)
      tokens = [*shown.tolist(), *tokens]
    return np.array(tokens, np.int32)

  def asked_rows(self, example: Mapping[str, Any]) -> np.ndarray:
    """Returns the rows of the items that are asked about, perhaps none."""
    rows = example[self._question.asked_field][: self._question.num_asked]
    return np.asarray(rows, np.int64)

  def draft(self, words: Sequence[int]) -> str:
    """Returns the option that the word in the slot names."""
    return self._question.options[words[0]]

  def draft_tokens(self, words: Sequence[int]) -> list[int]:
    """Returns the tokens of the option that the word in the slot names."""
    return self._question.answer_tokens(self.draft(words), self._vocabulary.encode)

  def row(
    self, example: Mapping[str, Any], text: str, answer: Answered, size: int
  ) -> dict[str, Any]:
    """Returns a row of the table, without the columns of the run."""
    about = self._question.about(example, self._item_ids)
    draft = () if answer.odds is None else answer.odds[0]
    decoder = () if answer.option_odds is None else answer.option_odds
    return self._question.row(about, text, answer.log_prob, size, draft, decoder)
