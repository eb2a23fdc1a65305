"""Finds rows of examples that repeat another one."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def repeated_ids(table: pa.Table) -> np.ndarray:
  """Returns [n] bool, whether an earlier row of the user has the same id."""
  names = (table[name].combine_chunks() for name in ('user', 'id'))
  both = np.stack([x.dictionary_encode().indices.to_numpy() for x in names])
  _, first = np.unique(both, axis=1, return_index=True)
  repeated = np.ones(table.num_rows, bool)
  repeated[first] = False
  return repeated & np.asarray(pc.not_equal(table['id'], '').combine_chunks())


def as_before(column: pa.Array) -> np.ndarray:
  """Returns [n] bool, whether each value is that of the row before; False in row 0."""
  same = np.zeros(len(column), bool)
  same[1:] = np.asarray(pc.equal(column[1:], column[:-1]))
  return same
