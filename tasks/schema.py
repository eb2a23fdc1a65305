"""Defines names and types of all stored records, for Beam and for TensorFlow.

The records are the tf.Examples of histories, the Arrow tables of items and embeddings,
and the prediction table for Arrow and BigQuery.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

# One tf.Example per user; lists are newest first. `history_items` are row numbers of
# the item table, `history_total` is the length before sampling.
HISTORY = {
  'user_id': 'bytes',
  'history_items': 'int64',
  'history_ratings': 'float',
  'history_timestamps': 'int64',
  'liked': 'bytes',
  'disliked': 'bytes',
  'history_total': 'int64',
}
# One tf.Example per example of a question, in questions/<name>/ of a histories folder:
# the history before the example's time, and what is asked. Time, item and answer are
# missing where an example has none. Each column of the examples' own files that the
# prompt names is a feature more, see `example_kinds`.
EXAMPLE = {
  'example_id': 'bytes',
  'user_id': 'bytes',
  'example_time': 'int64',
  'example_item': 'int64',
  'answer': 'bytes',
  'history_items': 'int64',
  'history_ratings': 'float',
  'history_timestamps': 'int64',
  'history_total': 'int64',
}
# A further feature of examples that rank candidates: row numbers of the item table. The
# answer is then the number of the right one, from 1 on.
CANDIDATES = {'example_candidates': 'int64'}
# A further feature of both where events have texts beside their items: row numbers of
# EVENT_TEXTS. Records of other data sets do not have it.
HISTORY_TEXTS = {'history_texts': 'int64'}
# Table of the distinct texts of events: TEXT_ID, and a column for each template.
EVENT_TEXTS, TEXT_ID = 'event_texts.parquet', 'text_id'
SCALARS = ('user_id', 'history_total', 'example_id')
FIELD = 'field_'  # begins the names of features with columns of an examples' file
SPLITS = ('train', 'validation', 'test')
# File formats of the prediction table.
PREDICTION_FORMATS = ('avro', 'parquet', 'json')

ITEMS = pa.schema(
  [
    pa.field('item_index', pa.int64(), nullable=False),
    pa.field('item_id', pa.string(), nullable=False),
    pa.field('title', pa.string(), nullable=False),
    pa.field('year', pa.int32()),
    pa.field('genres', pa.list_(pa.string()), nullable=False),
    pa.field('description', pa.string(), nullable=False),
    pa.field('tags', pa.list_(pa.string()), nullable=False),
    pa.field('num_ratings', pa.int64(), nullable=False),
  ]
)

# Columns more where examples are asked about, lists of a number for each fold of users:
# sum and number of the values that training users gave to an item.
VALUE_SUMS, VALUE_COUNTS = 'value_sums', 'value_counts'
# And FACTORS numbers for each fold: items that the same
# training users have are near each other (`pipelines.histories.item_factors`).
ITEM_FACTORS, FACTORS = 'item_factors', 32


def example_kinds(fields: Iterable[str]) -> dict[str, str]:
  """Returns the kind of each feature of an example with some fields of its own."""
  return EXAMPLE | {f'{FIELD}{name}': 'bytes' for name in fields}


def with_texts(kinds: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
  """Returns kinds of features, with those of HISTORY_TEXTS that are among names."""
  return {**kinds, **{x: kind for x, kind in HISTORY_TEXTS.items() if x in names}}


class Column(NamedTuple):
  """Describes a column of the prediction table.

  Attributes:
    name: name of the column.
    kind: name of the type in BigQuery.
    mode: NULLABLE, REQUIRED or REPEATED.
    description: text that BigQuery shows.
  """

  name: str
  kind: str
  mode: str
  description: str


PREDICTIONS = (
  Column('user_id', 'STRING', 'REQUIRED', 'User, as in the ratings'),
  Column('predicted_liked', 'STRING', 'REPEATED', 'Genres the answer says are liked'),
  Column('predicted_disliked', 'STRING', 'REPEATED', 'Genres it says are disliked'),
  Column('draft_liked', 'STRING', 'REPEATED', 'Genres the soft prompt says are liked'),
  Column('draft_disliked', 'STRING', 'REPEATED', 'Genres it says are disliked'),
  Column('text', 'STRING', 'NULLABLE', 'The answer as the model wrote it'),
  Column('log_prob', 'FLOAT64', 'NULLABLE', 'Natural log probability of the text'),
  Column('parse_ok', 'BOOL', 'NULLABLE', 'Whether the text could be parsed'),
  Column('history_length', 'INT64', 'NULLABLE', 'Interactions the model was shown'),
  Column('model_id', 'STRING', 'NULLABLE', 'Checkpoint that answered'),
  Column('task', 'STRING', 'NULLABLE', 'Name of the task'),
  Column('run_id', 'STRING', 'NULLABLE', 'Run that wrote the row'),
  Column('predicted_at', 'TIMESTAMP', 'NULLABLE', 'When the run started, UTC'),
)
_OF_THE_RUN = PREDICTIONS[-4:]
_ANSWERED = PREDICTIONS[5:9]  # text, log_prob, parse_ok, history_length
# The table of a question about examples: a row an example. `item_id` is there if the
# question is about items.
_OF_EXAMPLES = (
  Column('example_id', 'STRING', 'REQUIRED', 'Example, as in the examples'),
  Column('user_id', 'STRING', 'REQUIRED', 'User, as in the events'),
  Column('item_id', 'STRING', 'NULLABLE', 'Item that is asked about'),
)
_TEXT = Column('answer', 'STRING', 'NULLABLE', 'The answer without outer spaces')
_CHOSEN = (
  Column('answer', 'STRING', 'NULLABLE', 'Option that the answer names'),
  Column('draft_answer', 'STRING', 'NULLABLE', 'Option that the soft prompt names'),
  Column(
    'draft_probabilities',
    'FLOAT64',
    'REPEATED',
    'Probability of each option in the soft prompt, in the order of the options',
  ),
  Column(
    'decoder_probabilities',
    'FLOAT64',
    'REPEATED',
    'Probability of each option to the decoder, in the order of the options; of more '
    'than scored_options (32), 0 for those that the soft prompt finds less likely',
  ),
)
_RANKED = (
  Column('answer', 'STRING', 'NULLABLE', 'Candidate that the answer names'),
  Column('draft_answer', 'STRING', 'NULLABLE', 'First candidate of the soft prompt'),
  Column('candidates', 'STRING', 'REPEATED', 'Ids of the candidates, best first'),
  Column(
    'draft_probabilities',
    'FLOAT64',
    'REPEATED',
    'Probability of each candidate in the soft prompt, in the order of candidates',
  ),
  Column(
    'decoder_probabilities',
    'FLOAT64',
    'REPEATED',
    'Probability of each candidate to the decoder, in the order of candidates; of more '
    'than scored_options (32), 0 for those that the soft prompt finds less likely',
  ),
)
_NUMBERS = (
  Column('value', 'FLOAT64', 'NULLABLE', 'Expected number of the decoder'),
  Column('draft_value', 'FLOAT64', 'NULLABLE', 'Expected number of the soft prompt'),
)
Columns = tuple[Column, ...]


def prediction_columns(question: Mapping[str, Any] | None = None) -> Columns:
  """Returns the columns of the prediction table of a question.

  Args:
    question: words of the question with its `kind`, as `dataset_info.json` has them;
      None for lists, which need no words here.
  """
  question = question or {}
  kind, about_items = question.get('kind', 'lists'), question.get('asks_item', True)
  if kind == 'lists':
    return PREDICTIONS
  of_kind = {'choice': _CHOSEN, 'number': (*_CHOSEN, *_NUMBERS), 'text': (_TEXT,)}
  of_kind['rank'] = _RANKED
  columns = (*_OF_EXAMPLES, *of_kind[kind], *_ANSWERED, *_OF_THE_RUN)
  return tuple(x for x in columns if about_items or x.name != 'item_id')


_ARROW_TYPES = {
  'STRING': pa.string(),
  'FLOAT64': pa.float64(),
  'BOOL': pa.bool_(),
  'INT64': pa.int64(),
  'TIMESTAMP': pa.timestamp('us', tz='UTC'),
}


def predictions_arrow(columns: Columns = PREDICTIONS) -> pa.Schema:
  """Returns the Arrow schema of a prediction table with these columns."""
  return pa.schema(
    [
      pa.field(
        column.name,
        pa.list_(_ARROW_TYPES[column.kind])
        if column.mode == 'REPEATED'
        else _ARROW_TYPES[column.kind],
        nullable=column.mode == 'NULLABLE',
      )
      for column in columns
    ]
  )


def predictions_bigquery(columns: Columns = PREDICTIONS) -> list[dict[str, str]]:
  """Returns the JSON schema of a prediction table for BigQuery."""
  return [
    {'name': name, 'type': kind, 'mode': mode, 'description': description}
    for name, kind, mode, description in columns
  ]


def vectors_arrow(keys: Mapping[str, pa.DataType], widths: Mapping[str, int]):
  """Returns the Arrow schema of a table of text vectors, key columns first.

  Args:
    keys: types of the columns that identify a row, such as {'item_index': int64}.
    widths: width of each field's float32 vectors, such as {'title_genres': 384}.
  """
  return pa.schema(
    [pa.field(name, kind, nullable=False) for name, kind in keys.items()]
    + [
      pa.field(name, pa.list_(pa.float32(), width), nullable=False)
      for name, width in widths.items()
    ]
  )
