"""Shows the first examples that a dataset file's questions have; writes nothing."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.dataset.asked_questions import AskedExamples
from pipelines.dataset.dataset import Dataset
from pipelines.events import file_blocks
from pipelines.events.check import BadRow
from pipelines.events.user_texts import UserColumns
from pipelines.examples.check_examples import read_examples
from pipelines.examples.example_plan import USERS, ExampleSplit
from pipelines.examples.example_rows import pack_examples
from pipelines.histories import clean, history_records
from pipelines.histories.example_statistics import summarize_examples
from pipelines.histories.history_settings import HistorySettings
from pipelines.histories.make_examples import make_examples
from pipelines.histories.user_files import read_user_blocks
from pipelines.items import bm25
from pipelines.items.item_table import lookup, search_texts
from tasks import questions, schema

_BLOCK_BYTES = 1 << 23  # of a question's files that are read


def describe_questions(
  dataset: Dataset,
  files: dict,
  items: pa.Table,
  ratings: pa.Table,
  settings: HistorySettings,
  shown: int,
) -> dict[str, Any]:
  """Describes the examples of each question about examples.

  Args:
    dataset: the dataset file.
    files: its files, as `Dataset.find_files` returns them.
    items: the item table.
    ratings: events that were read, with the schema `shuffle.RATINGS`.
    settings: settings of the histories.
    shown: number of prompts to show.
  """
  timeline = clean.read_timeline(ratings, settings.ranks)
  known = lookup(items)
  counts = np.bincount(timeline.rows.item, minlength=items.num_rows)
  query = dataset.history.query or questions.search_query(known.facts.genre_names)
  relevance = bm25.bm25_scores(search_texts(items), query)
  facts = known.facts._replace(counts=counts, relevance=relevance)
  known = known._replace(facts=facts)
  users = read_first_users(dataset, files)
  return {
    asked.name: _describe(
      asked, dataset, files, items, known, timeline, settings, shown, users
    )
    for asked in dataset.about_examples
  }


def read_first_users(dataset: Dataset, files) -> UserColumns:
  """Reads the first rows of the users' files."""
  found = files.get(f'examples.{USERS}', ())
  blocks = file_blocks.cut_blocks(found, _BLOCK_BYTES)[:1]
  return read_user_blocks(blocks, pa.array([], pa.string()), dataset.examples())


def _describe(asked, dataset, files, items, known, timeline, settings, shown, users):
  packed, bad, first_bad, rows_in = [], Counter(), {}, 0
  found = files.get(f'examples.{asked.name}', ())
  for block in file_blocks.cut_blocks(found, _BLOCK_BYTES)[:1]:
    for piece in read_examples(block, known.ids, asked.plan):
      packed.append(pack_examples(piece.batch))
      rows_in += piece.num_lines
      for row in piece.bad:
        bad[row.reason] += 1
        first_bad.setdefault(row.reason, row)
  # All in one split, since only the job divides users.
  how = asked.plan, ExampleSplit(), schema.SPLITS[0], known, settings, users
  made = make_examples(timeline, packed, *how)
  kinds = asked.plan.record_kinds
  records = [x for each in made.records.values() for x in each[:shown].to_pylist()]
  examples = [history_records.decode_example(x, kinds) for x in records[:shown]]
  statistics, about = made.statistics, summarize_examples([made.statistics])
  answers = about.pop('answers')[schema.SPLITS[0]]
  return {
    'rows_read': rows_in,
    'examples': sum(statistics.examples.values()),
    'rejected': {x: {'rows': bad[x], **show_row(first_bad[x])} for x in bad},
    'dropped': {name: number for name, number in statistics.dropped.items() if number},
    'answers': {name or 'none': number for name, number in answers.items()},
    **about,
    'prompts': [_prompt(asked, example, items) for example in examples],
  }


def _prompt(asked: AskedExamples, example, items: pa.Table) -> dict[str, Any]:
  """Returns an example with its prompt as text."""
  question = asked.question
  rows = example[question.asked_field] if question.item_fields else ()
  columns = [items['fields'][int(row)].as_py() for row in rows]
  values = {x: example[f'{schema.FIELD}{x}'][0] for x in asked.plan.features}
  return {
    'example': example['example_id'],
    'history': len(example['history_items']),
    'prompt': question.write_prompt(columns, values),
    'answer': (*example['answer'], None)[0],
  }


def show_row(row: BadRow) -> dict[str, Any]:
  """Returns a row that was rejected for a reason, as JSON types."""
  return {
    'such_as': row.raw,
    **({'column': row.field, 'value': row.value} if row.field else {}),
    'expected': row.expected,
  }
