"""Makes features of the rows of vectors, or of the vectors that they stand for."""

from collections.abc import Callable

import tensorflow as tf

from tasks import item_vectors
from tasks.feature_room import Room


def look_up_of(vectors: item_vectors.ItemVectors, room: Room) -> Callable:
  """Returns a function (name, rows [n, T]) -> features with what the rows stand for.

  These are their vectors, `name_embeddings`, or the rows themselves, `name_rows`, if
  the room has a length for rows: the trainer then has the tables on its device. Rows of
  fewer columns than there are tables stand for vectors of the first tables only.
  """
  return _rows_as_they_are if 'history_rows' in room.lengths else _gathered(vectors)


def _gathered(vectors):
  """Returns a function (name, rows [n, T]) -> feature with the rows' vectors [n, H]."""
  with tf.init_scope():  # outside of any graph, in which a constant is a copy
    tables = [tf.constant(table) for table in vectors.tables]

  def look_up(name, rows):
    # TensorFlow gathers the vectors, the one large part of an example, without Python.
    columns = tf.unstack(rows, axis=1)  # perhaps fewer than tables
    found = [tf.gather(*pair) for pair in zip(tables, columns, strict=False)]
    return {f'{name}_embeddings': tf.concat(found, axis=1)}

  return look_up


def _rows_as_they_are(name, rows):
  """Returns features with rows, for a trainer that has the tables on its device."""
  return {f'{name}_rows': rows, f'{name}_embeddings': tf.zeros([0, 1])}
