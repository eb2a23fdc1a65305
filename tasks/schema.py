"""The only place where field names and types are spelled.

tf.Examples of the histories, Arrow tables of items and embeddings, the prediction
table for Arrow and BigQuery.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.histories import tf_example

# One tf.Example a user; lists are newest first. `history_items` are row numbers of
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
_SCALARS = ('user_id', 'history_total')

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

# Ratings between reading and writing; `item` is a row number of the item table.
RATINGS = pa.schema(
  [
    pa.field('user', pa.dictionary(pa.int32(), pa.string()), nullable=False),
    pa.field('item', pa.int32(), nullable=False),
    pa.field('rating', pa.float32(), nullable=False),
    pa.field('timestamp', pa.int64(), nullable=False),
  ]
)


class Column(NamedTuple):
  """A column of the prediction table.

  Attributes:
    name: its name.
    kind: BigQuery's type name.
    mode: NULLABLE, REQUIRED or REPEATED.
    description: shown in BigQuery.
  """

  name: str
  kind: str
  mode: str
  description: str


PREDICTIONS = (
  Column('user_id', 'STRING', 'REQUIRED', 'User, as in the ratings'),
  Column('predicted_liked', 'STRING', 'REPEATED', 'Genres the answer says are liked'),
  Column('predicted_disliked', 'STRING', 'REPEATED', 'Genres it says are disliked'),
  Column('text', 'STRING', 'NULLABLE', 'The answer as the model wrote it'),
  Column('log_prob', 'FLOAT64', 'NULLABLE', 'Natural log probability of the text'),
  Column('parse_ok', 'BOOL', 'NULLABLE', 'Whether the text could be parsed'),
  Column('history_length', 'INT64', 'NULLABLE', 'Interactions the model was shown'),
  Column('model_id', 'STRING', 'NULLABLE', 'Checkpoint that answered'),
  Column('task', 'STRING', 'NULLABLE', 'Name of the task'),
  Column('run_id', 'STRING', 'NULLABLE', 'Run that wrote the row'),
  Column('predicted_at', 'TIMESTAMP', 'NULLABLE', 'When the run started, UTC'),
)
_ARROW_TYPES = {
  'STRING': pa.string(),
  'FLOAT64': pa.float64(),
  'BOOL': pa.bool_(),
  'INT64': pa.int64(),
  'TIMESTAMP': pa.timestamp('us', tz='UTC'),
}


def predictions_arrow() -> pa.Schema:
  """The prediction table as an Arrow schema."""
  return pa.schema(
    [
      pa.field(
        column.name,
        pa.list_(_ARROW_TYPES[column.kind])
        if column.mode == 'REPEATED'
        else _ARROW_TYPES[column.kind],
        nullable=column.mode == 'NULLABLE',
      )
      for column in PREDICTIONS
    ]
  )


def predictions_bigquery() -> list[dict[str, str]]:
  """The prediction table as BigQuery's JSON schema."""
  return [
    {'name': name, 'type': kind, 'mode': mode, 'description': description}
    for name, kind, mode, description in PREDICTIONS
  ]


def vectors_arrow(keys: Mapping[str, pa.DataType], widths: Mapping[str, int]):
  """A table of text vectors.

  Args:
    keys: the columns that say what a row is about, such as {'item_index': int64}.
    widths: the width of each field's float32 vectors, such as {'title_genres': 384}.

  Returns:
    The Arrow schema, keys first.
  """
  return pa.schema(
    [pa.field(name, kind, nullable=False) for name, kind in keys.items()]
    + [
      pa.field(name, pa.list_(pa.float32(), width), nullable=False)
      for name, width in widths.items()
    ]
  )


def encode_example(history: Mapping[str, Any]) -> bytes:
  """One history as a serialized tf.Example, without TensorFlow.

  Args:
    history: a value for every name in HISTORY; numbers as sequences or arrays, texts
      as bytes or str, `user_id` and `history_total` as single values.

  Raises:
    ValueError: a field is missing or one too many.
  """
  _check_fields(history)
  return tf_example.encode_example_features(
    {
      name: (kind, [history[name]] if name in _SCALARS else history[name])
      for name, kind in HISTORY.items()
    }
  )


def encode_examples(histories: Mapping[str, pa.Array]) -> pa.Array:
  """Many histories as serialized tf.Examples, the same bytes as `encode_example`.

  Args:
    histories: a column [n] for every name in HISTORY, as `tf_example.encode_many`
      takes it.

  Returns:
    [n] binary.

  Raises:
    ValueError: a field is missing or one too many.
  """
  _check_fields(histories)
  return tf_example.encode_many_features(
    {name: (kind, histories[name]) for name, kind in HISTORY.items()}
  )


def decode_example(data: bytes) -> dict[str, Any]:
  """The inverse of `encode_example`.

  Returns:
    A value for every name in HISTORY: numbers as int64 or float32 arrays, texts as
    str, lists of texts as lists, `user_id` and `history_total` as single values.

  Raises:
    ValueError: `data` is not such an example.
  """
  features = tf_example.decode_example_features(data)
  history = {}
  for name, kind in HISTORY.items():
    if name not in features:
      raise ValueError(f'example: no field {name}; it has {sorted(features)}')
    values = features[name]
    if kind == 'bytes':
      values = [value.decode() for value in values]
    history[name] = values[0] if name in _SCALARS else values
  history['history_total'] = int(history['history_total'])
  return history


def _check_fields(history):
  if history.keys() != HISTORY.keys():
    wrong = sorted(history.keys() ^ HISTORY.keys())
    raise ValueError(f'history: missing or unknown fields {wrong}')
