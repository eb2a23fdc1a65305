"""Writes the prompts of a question as texts, each about its own example."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from tasks.answers.example_question import ExampleQuestion


class PromptTexts:
  """Writes prompts from the columns of items and of the examples' own file.

  Attributes:
    question: words of the question.
    num_items: number of rows of the item table.
  """

  def __init__(self, question: ExampleQuestion, histories_dir: str):
    """Reads the columns that the prompt names.

    Args:
      question: words of the question.
      histories_dir: finished folder of `pipelines.build_histories`.

    Raises:
      ValueError: the items lack a column that the prompt names.
    """
    file = pathlib.Path(histories_dir) / 'items.parquet'
    self.question, self.num_items = question, pq.read_metadata(file).num_rows
    names = question.item_fields
    rows = _item_columns(file, question.name, names) if names else []
    self._rows = [dict(zip(names, row, strict=True)) for row in rows]

  def write(self, items: Iterable[int], fields: Mapping[str, Any]) -> str:
    """Writes the prompt of an example.

    Args:
      items: rows of the item table that are asked about; not read if the prompt names
        no column of them.
      fields: value of each of `ExampleQuestion.fields`, None for a missing one.
    """
    rows = [self._rows[item] for item in items] if self._rows else []
    return self.question.write_prompt(rows, fields)


def _item_columns(file, name, names: Sequence[str]):
  """Returns the values of columns of items, row by row."""
  table = pq.read_table(file)
  found = table['fields'].combine_chunks() if 'fields' in table.column_names else None
  known = [] if found is None else [field.name for field in found.type]
  if missing := [x for x in names if x not in known]:
    raise ValueError(
      f'question {name}: its prompt names {", ".join(missing)}, but {file} has only '
      f'{known} of an item: expected these names, or histories of the same dataset '
      'file'
    )
  return zip(*(found.field(x).to_pylist() for x in names), strict=True)
