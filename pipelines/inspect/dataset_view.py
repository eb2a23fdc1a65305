"""Shows what a dataset file makes of the first rows of its files; writes nothing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.dataset.asked_questions import ListsQuestion
from pipelines.dataset.dataset import Dataset
from pipelines.dataset.dataset_file import read_dataset
from pipelines.events import file_blocks, shuffle
from pipelines.events.check import Ratings, read_ratings
from pipelines.events.event_texts import named_of_items
from pipelines.events.user_texts import UserColumns, UserTexts
from pipelines.histories import clean, make_histories
from pipelines.histories.history_settings import HistorySettings
from pipelines.inspect.example_view import (
  describe_questions,
  read_first_users,
  show_row,
)
from pipelines.items.catalogue import ItemTable, read_items
from pipelines.items.event_items import add_event_texts, read_event_items
from pipelines.items.item_table import lookup, lookup_texts
from tasks import labels
from tasks.interaction_texts import OwnTexts, event_columns
from tasks.schema import TEXT_ID

_BLOCK_BYTES, _ROWS = 1 << 23, 200_000  # of events that are read


def describe_dataset(path: str, examples: int = 3) -> dict[str, Any]:
  """Describes a dataset file and the first rows of its events.

  Args:
    path: path or address of the file.
    examples: number of interactions and of prompts to show.

  Returns:
    JSON types, in the form of `folder_contents.describe_folder`.

  Raises:
    JobError: the dataset file or one of its files is wrong.
  """
  dataset = read_dataset(path)
  files = dataset.find_files()
  items, users = _read_tables(dataset, files)
  block, *others = file_blocks.cut_blocks(files['ratings'], _BLOCK_BYTES)
  pieces = _first_pieces(block, items, dataset)
  read = sum(piece.num_lines - piece.item_lines for piece in pieces)
  bad, first_bad = Counter(), {}
  for piece in pieces:
    for row in piece.bad:
      bad[row.reason] += 1
      if bad[row.reason] == 1:
        first_bad[row.reason] = show_row(row)
  schema = shuffle.RATINGS_AND_TEXTS if items.event_texts else shuffle.RATINGS
  rows = pa.Table.from_batches([piece.batch for piece in pieces], schema)
  rows = rows.unify_dictionaries().combine_chunks()
  if named := block.layout.format.of_users:
    ids = items.event_texts[TEXT_ID].combine_chunks()
    rows = UserTexts(named, ids).find(rows, users)
  return {
    'path': path,
    'kind': 'dataset file',
    'state': 'sound',
    'bytes': sum(file.size for each in files.values() for file in each),
    'name': dataset.name,
    'events': [file.path for file in files['ratings']],
    'items': [file.path for file in files.get('movies', ())],
    'item_rows': _about_items(items),
    'rows': {
      'read': read,
      'kept': rows.num_rows,
      'rejected': sum(bad.values()),
      'all_files_read': not others and read < _ROWS,
    },
    'rejected': {reason: {'rows': bad[reason], **x} for reason, x in first_bad.items()},
    **_about_users(dataset, files, items, rows, examples),
  }


def _read_tables(dataset: Dataset, files) -> tuple[ItemTable, UserColumns | None]:
  """Returns the items, and the first users where texts can name their columns."""
  if not dataset.items:
    return read_event_items(files['ratings']), None
  users = read_first_users(dataset, files)
  items = read_items(files['movies'], dataset.items.no_name)
  return add_event_texts(items, files['ratings'], users, _ROWS), users


def _first_pieces(block, items: ItemTable, dataset: Dataset) -> list[Ratings]:
  """Reads a block of events, or the first part of a compressed file."""
  ids, pieces, left = items.table['item_id'].combine_chunks(), [], _ROWS
  named = named_of_items([block.layout.format])
  texts = lookup_texts(items.table, items.event_texts, named)
  for piece in read_ratings(block, ids, dataset.scale, texts):
    pieces.append(piece)
    left -= piece.num_lines
    if left <= 0:
      break
  return pieces


def _about_items(items: ItemTable) -> dict[str, Any]:
  facts = lookup(items.table).facts
  return {
    'kept': items.table.num_rows,
    'rejected': len(items.rejects),
    'categories': list(facts.genre_names),
    'without_category': int((np.diff(facts.genres.indptr) == 0).sum()),
  }


def _about_users(
  dataset: Dataset, files, items: ItemTable, rows: pa.Table, examples: int
) -> dict[str, Any]:
  """Returns counts of the users in the rows, and what is asked about the first ones."""
  if not rows.num_rows:
    return {'users': 0}
  history, seed = dataset.history, dataset.split.seed
  rule = dataset.lists.rule if dataset.lists else labels.LabelRule()
  settings = HistorySettings(
    history.sampler, history.most, history.least, seed, rule, ranks=dataset.ranks
  )
  users = make_histories.read_users(rows, settings)
  starts = clean.user_starts(users.history.user, len(users.ids))
  asked = {}
  if dataset.lists:
    asked = _about_lists(dataset.lists, items, users, starts, examples)
  if dataset.about_examples:
    of_jobs = files, items.table, rows, settings
    asked['questions'] = describe_questions(dataset, *of_jobs, examples)
  return {
    'users': len(users.ids),
    'history_length': {
      'median': float(np.median(np.diff(starts))),
      'longest': int(np.diff(starts).max()),
    },
    'dropped': users.dropped,
    'interactions': _texts(dataset, items, users.history, examples),
    **asked,
  }


def _about_lists(
  asked: ListsQuestion, items: ItemTable, users, starts: np.ndarray, examples: int
) -> dict[str, Any]:
  """Returns what is asked about the first users."""
  facts = lookup(items.table).facts
  of_users = labels.label_users(
    facts.genres, starts, users.history.item, users.history.rating, asked.rule
  )
  labelled = np.logical_or(*((side >= 0).any(axis=1) for side in of_users))
  named = lambda side, user: [facts.genre_names[x] for x in side[user] if x >= 0]
  first = range(min(examples, len(users.ids)))
  return {
    'users_with_label': int(labelled.sum()),
    'prompts': [
      {
        'user': users.ids[user].as_py(),
        'prompt': asked.question.prompt,
        'answer': asked.question.answer(*(named(side, user) for side in of_users)),
      }
      for user in first
    ],
  }


def _texts(dataset, items: ItemTable, history, examples: int) -> Sequence[list[str]]:
  """Returns what the encoder reads of the first interactions, a text a vector."""
  words = OwnTexts.of(text.source for text in dataset.texts)
  shown = slice(examples)
  of_items = words.item_texts(items.table.take(pa.array(history.item[shown])))
  of_values = words.value_texts(history.rating[shown].tolist())
  of_events = []
  if items.event_texts:
    of_events = event_columns(items.event_texts.take(pa.array(history.text[shown])))
  return [list(row) for row in zip(*of_items, *of_values, *of_events, strict=True)]
