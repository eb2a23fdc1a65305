"""Makes and joins Arrow arrays of bytes without one Python object per value."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def binary(data: np.ndarray, splits: np.ndarray) -> pa.Array:
  """Returns an array of byte strings cut from data.

  Args:
    data: all bytes, [b] uint8.
    splits: [m + 1] positions in data; value i is data[splits[i] : splits[i + 1]].

  Returns:
    [m] binary.

  Raises:
    OverflowError: data has 2 GiB or more, too much for one Arrow array.
  """
  if splits[-1] >= 2**31:
    raise OverflowError(f'{splits[-1]} bytes do not fit in one Arrow binary array')
  buffers = [None, pa.py_buffer(splits.astype(np.int32)), pa.py_buffer(data)]
  return pa.Array.from_buffers(pa.binary(), len(splits) - 1, buffers)


def concat(*columns: pa.Array) -> pa.Array:
  """Joins the values of binary columns [n] row by row."""
  return pc.binary_join_element_wise(*columns, b'')


def content(column: pa.Array) -> pa.Buffer:
  """Returns the bytes of all values, one after another."""
  _, offsets, data = column.buffers()
  ends = np.frombuffer(offsets, np.int32)
  first, last = ends[column.offset], ends[column.offset + len(column)]
  return (data or pa.py_buffer(b'')).slice(int(first), int(last - first))
