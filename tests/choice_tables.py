"""Folders of a choice about examples, and predictions for it, written by hand.

Readers with a taste of their own, books of different quality: the answer to "Will the
reader like {title}?" follows from both, with noise, and so do the stars of the history.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.common import tfrecord
from pipelines.histories import tf_example
from tasks import schema

NAME, PROMPT = (
  'likes_v1',
  'On a {weekday}: will the reader like {title}[, {pages} pages]?',
)
OPTIONS = ('Yes', 'No')
HOSTILE = '<script>alert("$1")</script>'
ITEMS = 40


def draw(
  users: int = 90, examples: int = 4, seed: int = 0, options: Sequence[str] = OPTIONS
) -> dict[str, list[dict[str, Any]]]:
  """Examples of each split, as records; of two options the first is the good one."""
  rng = np.random.default_rng(seed)
  quality, splits = rng.normal(0, 1, ITEMS), {x: [] for x in schema.SPLITS}
  for user in range(users):
    split = schema.SPLITS[0 if user % 3 < 2 else 1 + (user // 3) % 2]
    taste = rng.normal(0, 1)
    for number in range(examples):
      items = rng.permutation(ITEMS)[: 1 + user % 7]
      asked, history = items[0], items[1:]
      liking = quality[items] + taste + rng.normal(0, 0.5, len(items))
      edges = np.linspace(-1, 1, len(options) + 1)[1:-1]
      answer = options[len(options) - 1 - int(np.searchsorted(edges, liking[0]))]
      splits[split].append(
        {
          'example_id': f'e{user}-{number}',
          'user_id': f'<b>u{user}',
          'example_time': [1000],
          'example_item': [asked],
          'answer': [] if user % 10 == 9 and not number else [answer],
          'history_items': history,
          'history_ratings': np.clip(np.round(3 + liking[1:]), 1, 5),
          'history_timestamps': 900 - np.arange(len(history)),
          'history_total': len(history) + 2,
          'field_weekday': ['Monday'] if number else [],
        }
      )
  return splits


def write_histories(
  folder: pathlib.Path,
  splits: Mapping[str, Sequence[Mapping[str, Any]]],
  options: Sequence[str] = OPTIONS,
  fingerprint: str = 'h',
  kind: str = 'choice',
) -> pathlib.Path:
  """A finished folder of histories with the examples of one choice."""
  asked = folder / 'questions' / NAME
  asked.mkdir(parents=True)
  for split, examples in splits.items():
    write_shard(asked / f'{split}-00000-of-00001.tfrecord', examples)
  titles = [f'Book {x} {HOSTILE}' for x in range(ITEMS)]
  own = [{'title': x, 'pages': at or None, 'other': [x]} for at, x in enumerate(titles)]
  columns = {
    'item_index': range(ITEMS),
    'item_id': [f'b{x}' for x in range(ITEMS)],
    'title': titles,
    'year': [None] * ITEMS,
    'genres': [[]] * ITEMS,
    'description': [''] * ITEMS,
    'tags': [[]] * ITEMS,
    'num_ratings': [1] * ITEMS,
  }
  table = pa.table(
    {x: pa.array(y, schema.ITEMS.field(x).type) for x, y in columns.items()}
  )
  pq.write_table(table.append_column('fields', pa.array(own)), folder / 'items.parquet')
  words = {'kind': kind, 'prompt': PROMPT} | (
    {'options': [*options]} if options else {}
  )
  words |= {'fields': ['weekday'], 'asks_item': True}
  counts = {split: len(examples) for split, examples in splits.items()}
  info = {
    'dataset': {'questions': {NAME: words}},
    'counts': {'examples': {NAME: counts}},
    'genres': [],
    'label_rule': None,
    'sampler': 'recency',
    'max_history': 100,
    'seed': 0,
  }
  (folder / 'dataset_info.json').write_text(json.dumps(info))
  _complete(folder, fingerprint, {})
  return folder


def write_shard(path: pathlib.Path, examples: Sequence[Mapping[str, Any]]) -> None:
  """A file of examples' records."""
  kinds = schema.example_kinds(['weekday'])
  listed = lambda x, name: [x[name]] if name in schema.SCALARS else x[name]
  records = [
    tf_example.encode_example_features(
      {name: (kind, listed(x, name)) for name, kind in kinds.items()}
    )
    for x in examples
  ]
  path.write_bytes(tfrecord.frame_records(pa.array(records, pa.binary())))


def answer(
  examples: Sequence[Mapping[str, Any]],
  options: Sequence[str] = OPTIONS,
  right: float = 0.8,
  seed: int = 1,
) -> list[dict[str, Any]]:
  """Rows of a prediction table; a share of the answers is right."""
  rng, rows = np.random.default_rng(seed), []
  for x in examples:
    truth = options.index(x['answer'][0]) if x['answer'] else 0
    other = (truth + 1 + rng.integers(len(options) - 1)) % len(options)
    chosen = truth if rng.random() < right else other
    own = rng.uniform(0.5, 1)
    told = np.full(len(options), (1 - own) / (len(options) - 1))
    told[chosen] = own
    rows.append(
      {
        'example_id': x['example_id'],
        'user_id': x['user_id'],
        'item_id': f'b{x["example_item"][0]}',
        'answer': options[chosen],
        'draft_answer': options[chosen],
        'draft_probabilities': told.tolist(),
        'decoder_probabilities': told.tolist(),
        'text': f'{options[chosen]} {HOSTILE}',
        'log_prob': float(np.log(own)),
        'parse_ok': True,
        'history_length': len(x['history_items']),
        'model_id': 'persoma-4-abc',
        'task': NAME,
        'run_id': 'run-1',
        'predicted_at': '2026-03-01T23:59:59',
      }
    )
  return rows


def write_predictions(
  folder: pathlib.Path,
  rows: Sequence[Mapping[str, Any]],
  kind: str = 'json',
  **settings: Any,
) -> pathlib.Path:
  """A finished folder of predictions of the split test, in one shard."""
  folder.mkdir()
  path = folder / f'predictions-00000-of-00001.{"jsonl" if kind == "json" else kind}'
  if kind == 'json':
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  else:
    pq.write_table(pa.Table.from_pylist([*rows]), path)
  (folder / 'run_info.json').write_text(json.dumps({'rejects': 0}))
  model = {'model_id': 'persoma-4-abc', 'decoder': 'tiny'}
  decoding = {'constrained': True}
  known = {'histories': 'h', 'split': 'test', 'format': kind}
  _complete(folder, 'p', {**known, 'model': model, 'decoding': decoding, **settings})
  return folder


def write_item_vectors(folder: pathlib.Path, histories: str = 'h', width: int = 6):
  """A finished folder of embeddings whose vectors mean nothing."""
  folder.mkdir()
  rng = np.random.default_rng(3)
  fixed = lambda rows: pa.FixedSizeListArray.from_arrays(
    pa.array(rng.normal(size=rows * width).astype(np.float32)), width
  )
  items = {'item_index': np.arange(ITEMS), 'title': fixed(ITEMS)}
  pq.write_table(pa.table(items), folder / 'embeddings.parquet')
  ratings = {'rating': np.arange(1, 6, dtype=np.float32), 'text': fixed(5)}
  pq.write_table(pa.table(ratings), folder / 'ratings.parquet')
  (folder / 'encoder_info.json').write_text('{}')
  _complete(folder, 'v', {'histories': histories})
  return folder


def _complete(folder, fingerprint, settings):
  marker = {'fingerprint': fingerprint, 'settings': settings}
  (folder / 'COMPLETED').write_text(json.dumps(marker))
