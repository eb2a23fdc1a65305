"""Binds the inference engine to a choice, for `tasks.predictor`."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from persoma_tf.inference.engine import Answered
from persoma_tf.inference.grammar import Grammar
from tasks import item_vectors, schema, text_history
from tasks.answers.choice import Choice
from tasks.choice_prompts import load_choice_prompts
from tasks.histories import data_folders
from tasks.question_examples import field_features
from tasks.vocabularies import DecoderVocabulary


class ChoiceAnswers:
  """Asks a choice about examples, and writes the answers as rows.

  Attributes:
    kinds: kind of each field of a record.
    key: name of the field that identifies a record.
    prompt: token ids that stand in rows of a batch without an example.
    options: words that can fill the slot of a draft.
  """

  key = 'example_id'

  def __init__(self, question: Choice, vocabulary: DecoderVocabulary, as_text: bool):
    """Reads the items of the recipe's folder."""
    self._question, self._vocabulary = question, vocabulary
    self._as_text = as_text
    self.kinds = schema.example_kinds(question.fields)
    self.options, self.prompt = question.slot_options, vocabulary.encode('\n')[:1]
    self._prompts = load_choice_prompts(question, as_text)
    folders = data_folders()
    if as_text:
      nouns = item_vectors.load_words(folders.embeddings_dir)
      load = text_history.load_interactions
      self._interactions = load(folders.histories_dir, nouns, '')
    elif question.asks_item:
      item_vectors.load_item_vectors(folders.embeddings_dir).require_items()
    items = pathlib.Path(folders.histories_dir) / 'items.parquet'
    self._item_ids = pq.read_table(items, columns=['item_id'])['item_id']

  def longest(self) -> int:
    """Returns the number of tokens of the longest answer."""
    tokens = self._question.target_tokens(self._vocabulary.encode)
    return max(map(len, tokens)) + 1  # and the end of the sequence

  def grammar(self) -> Grammar:
    """Returns the automaton of all answers."""
    return self._question.grammar(self._vocabulary.encode, self._vocabulary.eos_id)

  def problem(self, example: Mapping[str, Any]) -> str | None:
    """Returns the reason why a record cannot be asked about; None without one."""
    item, known = self.asked_row(example), self._prompts.num_items
    if not self._question.asks_item:
      return None
    if item is None:
      return 'example_item is missing'
    if not 0 <= item < known:
      return f'example_item is {item}; the item table has rows 0 to {known - 1}'
    return None

  def own_prompt(self, example: Mapping[str, Any], limits) -> np.ndarray:
    """Returns the tokens of a record's own prompt, behind the history if it is text."""
    names = field_features(self._question)
    only = lambda values: values[0] if len(values) else None
    fields = tuple(only(example[name]) for name in names)
    tokens = self._prompts.tokens(self.asked_row(example), fields)
    if self._as_text:
      items, ratings = example['history_items'], example['history_ratings']
      shown = self._interactions.prompt(items, ratings, limits)
      tokens = [*shown.tolist(), *tokens]
    return np.array(tokens, np.int32)

  def asked_row(self, example: Mapping[str, Any]) -> int | None:
    """Returns the row of the item that is asked about; None without one."""
    found = example['example_item'] if self._question.asks_item else ()
    return int(found[0]) if len(found) else None

  def draft(self, words: Sequence[int]) -> str:
    """Returns the option that the word in the slot names."""
    return self._question.options[words[0]]

  def row(
    self, example: Mapping[str, Any], text: str, answer: Answered, size: int
  ) -> dict[str, Any]:
    """Returns a row of the table, without the columns of the run."""
    about, row = dict(example), self.asked_row(example)
    if row is not None:
      about['item_id'] = self._item_ids[row].as_py()
    odds = () if answer.odds is None else answer.odds[0]
    return self._question.row(about, text, answer.log_prob, size, odds)
