"""Shows what a dataset file makes of the first rows of its files; writes nothing."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.dataset.dataset import Dataset
from pipelines.dataset.dataset_file import read_dataset
from pipelines.events import file_blocks, shuffle
from pipelines.events.check import BadRow, Ratings, read_ratings
from pipelines.histories import clean, make_histories
from pipelines.histories.history_settings import HistorySettings
from pipelines.items.catalogue import ItemTable, read_items
from pipelines.items.item_table import lookup
from tasks import labels
from tasks.interaction_texts import OwnTexts

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
  items = read_items(files['movies'], dataset.items.no_name)
  block, *others = file_blocks.cut_blocks(files['ratings'], _BLOCK_BYTES)
  pieces = _first_pieces(block, items, dataset)
  read = sum(piece.num_lines - piece.item_lines for piece in pieces)
  bad, first_bad = Counter(), {}
  for piece in pieces:
    for row in piece.bad:
      bad[row.reason] += 1
      if bad[row.reason] == 1:
        first_bad[row.reason] = _shown(row, path)
  rows = pa.Table.from_batches([piece.batch for piece in pieces], shuffle.RATINGS)
  rows = rows.unify_dictionaries()
  return {
    'path': path,
    'kind': 'dataset file',
    'state': 'sound',
    'bytes': sum(file.size for each in files.values() for file in each),
    'name': dataset.name,
    'events': [file.path for file in files['ratings']],
    'items': [file.path for file in files['movies']],
    'item_rows': _about_items(items),
    'rows': {
      'read': read,
      'kept': rows.num_rows,
      'rejected': sum(bad.values()),
      'all_files_read': not others and read < _ROWS,
    },
    'rejected': {reason: {'rows': bad[reason], **x} for reason, x in first_bad.items()},
    **_about_users(dataset, items, rows.combine_chunks(), examples),
  }


def _first_pieces(block, items: ItemTable, dataset: Dataset) -> list[Ratings]:
  """Reads a block of events, or the first part of a compressed file."""
  ids, pieces, left = items.table['item_id'].combine_chunks(), [], _ROWS
  for piece in read_ratings(block, ids, dataset.scale):
    pieces.append(piece)
    left -= piece.num_lines
    if left <= 0:
      break
  return pieces


def _shown(row: BadRow, file: str) -> dict[str, Any]:
  """Returns a row that was rejected for a reason."""
  return {
    'such_as': row.raw,
    **({'column': row.field, 'value': row.value} if row.field else {}),
    'expected': row.expected.replace('--rating_scale', f'scale in {file}'),
  }


def _about_items(items: ItemTable) -> dict[str, Any]:
  facts = lookup(items.table).facts
  return {
    'kept': items.table.num_rows,
    'rejected': len(items.rejects),
    'categories': list(facts.genre_names),
    'without_category': int((np.diff(facts.genres.indptr) == 0).sum()),
  }


def _about_users(
  dataset: Dataset, items: ItemTable, rows: pa.Table, examples: int
) -> dict[str, Any]:
  """Returns counts of the users in the rows, and what is asked about the first ones."""
  if not rows.num_rows:
    return {'users': 0}
  history, question = dataset.history, dataset.question
  settings = HistorySettings(
    history.sampler, history.most, history.least, dataset.split.seed, dataset.rule
  )
  users = make_histories.read_users(rows, settings)
  facts = lookup(items.table).facts
  starts = clean.user_starts(users.history.user, len(users.ids))
  of_users = labels.label_users(
    facts.genres, starts, users.history.item, users.history.rating, dataset.rule
  )
  labelled = np.logical_or(*((side >= 0).any(axis=1) for side in of_users))
  named = lambda side, user: [facts.genre_names[x] for x in side[user] if x >= 0]
  first = range(min(examples, len(users.ids)))
  return {
    'users': len(users.ids),
    'users_with_label': int(labelled.sum()),
    'history_length': {
      'median': float(np.median(np.diff(starts))),
      'longest': int(np.diff(starts).max()),
    },
    'dropped': users.dropped,
    'interactions': _texts(dataset, items, users.history, examples),
    'prompts': [
      {
        'user': users.ids[user].as_py(),
        'prompt': question.prompt,
        'answer': question.answer(*(named(side, user) for side in of_users)),
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
  return [list(row) for row in zip(*itertools.chain(of_items, of_values), strict=True)]
