"""Arrow arrays of bytes, made and joined without an object a value."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def binary(data: np.ndarray, splits: np.ndarray) -> pa.Array:
  """[m] binary: value i holds the bytes of data from splits[i] to splits[i + 1].

  Raises:
    OverflowError: there are 2 GiB or more, which one Arrow array does not hold.
  """
  if splits[-1] >= 2**31:
    raise OverflowError(f'{splits[-1]} bytes do not fit in one Arrow binary array')
  buffers = [None, pa.py_buffer(splits.astype(np.int32)), pa.py_buffer(data)]
  return pa.Array.from_buffers(pa.binary(), len(splits) - 1, buffers)


def concat(*columns: pa.Array) -> pa.Array:
  """Joins binary columns [n] row by row."""
  return pc.binary_join_element_wise(*columns, b'')


def content(column: pa.Array) -> pa.Buffer:
  """The bytes of all values, one after the other."""
  _, offsets, data = column.buffers()
  ends = np.frombuffer(offsets, np.int32)
  first, last = ends[column.offset], ends[column.offset + len(column)]
  return (data or pa.py_buffer(b'')).slice(int(first), int(last - first))
