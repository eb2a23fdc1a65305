"""Gathers the vectors of interactions from tables on the device.

A task can give the rows of an interaction's vectors in fixed tables, [N, T] numbers,
instead of the [N, H] vectors. A batch is then smaller by a factor of several hundred on
its way to the device.
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jax import Array

# Feature with vectors -> feature with their rows.
ROWS = {
  'history_embeddings': 'history_rows',
  'known_embeddings': 'known_rows',
  'asked_embeddings': 'asked_rows',
}


def rows_lengths(lengths: Mapping[str, int]) -> dict[str, int]:
  """Returns the lengths of features with rows, given those of features with vectors."""
  made = dict(lengths)
  for vectors, rows in ROWS.items():
    if vectors in lengths:
      made |= {rows: lengths[vectors], vectors: 0}
  return made


def gather(batch: Mapping[str, Array], tables: Sequence[Array]) -> dict[str, Array]:
  """Replaces the rows in a batch by vectors.

  Args:
    batch: model features, each [B, ...].
    tables: T tables, each [rows, width] float32; a vector is one row of each table,
      concatenated. Rows of fewer than T numbers are of the first tables: that of an
      item alone has one.
  """
  batch = dict(batch)
  for vectors, name in ROWS.items():
    if name in batch:
      rows = batch.pop(name)
      used = tables[: rows.shape[-1]]
      columns = [table[rows[..., place]] for place, table in enumerate(used)]
      batch[vectors] = jnp.concatenate(columns, axis=-1)
  return batch
