"""Writes the task prompts of a choice, each about its own example."""

import functools
import pathlib
from collections.abc import Sequence

import pyarrow.parquet as pq

from tasks import question_examples, text_history, vocabularies
from tasks.answers.choice import Choice
from tasks.histories import data_folders


class ChoicePrompts:
  """Writes prompts from the columns of items and of the examples' own file.

  Attributes:
    num_items: number of rows of the item table.
  """

  def __init__(
    self,
    question: Choice,
    histories_dir: str,
    vocabulary: vocabularies.DecoderVocabulary,
    follows_text: bool = False,
  ):
    """Reads the columns that the prompt names.

    Args:
      question: question of the recipe.
      histories_dir: finished folder of `pipelines.build_histories`.
      vocabulary: vocabulary of the decoder.
      follows_text: whether the prompt follows the history as text, line by line.

    Raises:
      ValueError: the items lack a column that the prompt names.
    """
    self._question, self._vocabulary = question, vocabulary
    self._follows_text = follows_text
    file = pathlib.Path(histories_dir) / 'items.parquet'
    self.num_items = pq.read_metadata(file).num_rows
    names = question.item_fields
    rows = _item_columns(file, question.name, names) if names else []
    self._rows = [dict(zip(names, row, strict=True)) for row in rows]
    self.tokens = functools.lru_cache(1 << 17)(self._tokens)

  def text(self, item: int | None, fields: tuple[str | None, ...] = ()) -> str:
    """Writes the prompt of an example.

    Args:
      item: row of the item table that is asked about; None for none.
      fields: values of `Choice.fields`, None for a missing one.
    """
    values = dict(zip(self._question.fields, fields, strict=True))
    of_item = self._rows[item] if self._rows else {}
    return self._question.template.write({**of_item, **values})

  def _tokens(self, item, fields=()) -> list[int]:
    """Returns the token ids of a prompt; `tokens` keeps those of the last examples."""
    text, vocabulary = self.text(item, fields), self._vocabulary
    ids = (
      text_history.after_line(vocabulary, text)
      if self._follows_text
      else vocabulary.encode(text)
    )
    vocabulary.notice_unknown(text, ids)
    return ids


def _item_columns(file, name, names: Sequence[str]):
  """Returns the values of columns of items, row by row."""
  table = pq.read_table(file)
  found = table['fields'].combine_chunks() if 'fields' in table.column_names else None
  known = [] if found is None else [field.name for field in found.type]
  if missing := [x for x in names if x not in known]:
    raise ValueError(
      f'question {name}: its prompt names {", ".join(missing)}, but {file} has only '
      f'{known} of an item: expected histories of the same dataset file'
    )
  return zip(*(found.field(x).to_pylist() for x in names), strict=True)


def longest_choice_prompt(question: Choice, follows_text: bool) -> int:
  """Returns the number of tokens of the longest prompt among all stored examples.

  The examples of all splits are read, and every distinct prompt is encoded once: a
  prompt that names only columns of items costs as much as its distinct items.

  Args:
    question: question of the recipe.
    follows_text: whether the prompt follows the history as text.
  """
  folder = data_folders().histories_dir
  state = (pathlib.Path(folder) / 'dataset_info.json').stat().st_mtime_ns
  vocabulary = vocabularies.task_vocabulary()
  return _longest(question, folder, vocabulary, follows_text, state)


@functools.cache
def _longest(question, folder, vocabulary, follows_text, _):
  loaded = vocabularies.load_vocabulary(vocabulary)
  prompts = ChoicePrompts(question, folder, loaded, follows_text)
  texts = lambda values: tuple(x if x is None else x.decode() for x in values)
  asked = question_examples.asked_texts(question)
  size = lambda item, *values: len(prompts.tokens(item, texts(values)))
  # An example that lacks its item is refused where it is asked.
  sizes = (size(*x) for x in asked if not question.asks_item or x[0] is not None)
  return max(sizes, default=0)


def load_choice_prompts(question: Choice, follows_text: bool) -> ChoicePrompts:
  """Loads the prompts of the recipe's folder and vocabulary once per process."""
  folder, vocabulary = data_folders().histories_dir, vocabularies.task_vocabulary()
  state = (pathlib.Path(folder) / 'items.parquet').stat().st_mtime_ns
  return _load_prompts(question, folder, vocabulary, follows_text, state)


@functools.cache
def _load_prompts(question, folder, vocabulary, follows_text, _):
  loaded = vocabularies.load_vocabulary(vocabulary)
  return ChoicePrompts(question, folder, loaded, follows_text)
