"""tf.train.Example on the wire, without TensorFlow and without an object a number.

The message is (tensorflow/core/example/{example,feature}.proto):
Example.features = 1; Features.feature = 1, a map of {key = 1, value = 2};
Feature.{bytes_list = 1, float_list = 2, int64_list = 3}; in each list value = 1, with
numbers packed. Features are written in the order of their names.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_LIST_FIELD = {'bytes': 1, 'float': 2, 'int64': 3}
_KINDS = {field: kind for kind, field in _LIST_FIELD.items()}
_LENGTH_DELIMITED = 2


def encode(features: Mapping[str, tuple[str, Any]]) -> bytes:
  """One serialized Example.

  Args:
    features: name -> (kind, values). Kinds: 'bytes' (values: bytes or str), 'float',
      'int64' (values: numbers). Numbers may come packed, as bytes: little-endian
      float32, or one of `packed_varints`.
  """
  entries = []
  for name in sorted(features):
    kind, values = features[name]
    if kind == 'bytes':
      inner = b''.join(
        _field(1, value.encode() if isinstance(value, str) else value)
        for value in values
      )
    else:
      numbers = values if isinstance(values, bytes) else _pack(kind, values)
      inner = _field(1, numbers) if numbers else b''
    feature = _field(_LIST_FIELD[kind], inner)
    entries.append(_field(1, _field(1, name.encode()) + _field(2, feature)))
  return _field(1, b''.join(entries))


def packed_varints(values: np.ndarray, splits: np.ndarray) -> list[bytes]:
  """Many packed int64 lists at once.

  Args:
    values: [n] int64, all lists one after the other.
    splits: [m + 1] int, list i is values[splits[i]:splits[i + 1]].

  Returns:
    The m packed lists, for `encode`.
  """
  rest = np.asarray(values, np.int64).view(np.uint64)
  widest = max(1, -(-int(rest.max(initial=0)).bit_length() // 7))
  size = np.ones(len(rest), np.int64)
  for bytes_ in range(1, widest):
    size += rest >= np.uint64(1 << (7 * bytes_))
  ends = np.concatenate([[0], np.cumsum(size)])
  out = np.empty(ends[-1], np.uint8)
  for byte in range(widest):
    rows = np.flatnonzero(size > byte)
    low = (rest[rows] >> np.uint64(7 * byte)).astype(np.uint8) & 0x7F
    out[ends[rows] + byte] = low | np.where(size[rows] > byte + 1, 0x80, 0)
  data, cuts = out.tobytes(), ends[splits]
  return [data[a:b] for a, b in itertools.pairwise(cuts)]


def decode(data: bytes) -> dict[str, Any]:
  """The features of a serialized Example.

  Returns:
    name -> list of bytes, float32 [n] or int64 [n].

  Raises:
    ValueError: `data` is cut off or not an Example with packed numbers.
  """
  features = {}
  for _, message in _fields(data):
    for _, entry in _fields(message):
      pair = dict(_fields(entry))
      (field, inner), *_ = [*_fields(pair.get(2, b'')), (1, b'')]
      values = [value for _, value in _fields(inner)]
      kind = _KINDS.get(field)
      if kind is None:
        raise ValueError(f'example: feature {pair.get(1)!r} has kind {field}, not 1-3')
      features[pair.get(1, b'').decode()] = (
        values if kind == 'bytes' else _unpack(kind, b''.join(values))
      )
  return features


def _pack(kind, values):
  if kind == 'float':
    return np.asarray(values, '<f4').tobytes()
  values = np.asarray(values, np.int64)
  return packed_varints(values, np.array([0, len(values)]))[0]


def _unpack(kind, data):
  if kind == 'float':
    return np.frombuffer(data, '<f4').astype(np.float32)
  raw = np.frombuffer(data, np.uint8)
  last = np.flatnonzero(raw < 0x80)
  starts = np.concatenate([[0], last[:-1] + 1])[: len(last)]
  place = np.arange(len(raw)) - np.repeat(starts, last - starts + 1)
  parts = (raw & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
  return (
    np.add.reduceat(parts, starts).view(np.int64) if len(last) else parts.view(np.int64)
  )


def _field(number, payload):
  return bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(len(payload)) + payload


def _varint(value):
  if value < 0x80:
    return bytes([value])
  return bytes([value & 0x7F | 0x80]) + _varint(value >> 7)


def _fields(data: bytes) -> Sequence[tuple[int, bytes]]:
  """The (field number, payload) pairs of a message of length-delimited fields."""
  found, at = [], 0
  while at < len(data):
    tag, at = _read_varint(data, at)
    if tag & 7 != _LENGTH_DELIMITED:
      raise ValueError(f'example: wire type {tag & 7} at byte {at}, expected 2')
    length, at = _read_varint(data, at)
    if at + length > len(data):
      raise ValueError(f'example: {length} bytes at byte {at} of {len(data)}: cut off')
    found.append((tag >> 3, data[at : at + length]))
    at += length
  return found


def _read_varint(data, at):
  value = shift = 0
  while True:
    if at >= len(data):
      raise ValueError(f'example: cut off at byte {at}')
    byte = data[at]
    value |= (byte & 0x7F) << shift
    at, shift = at + 1, shift + 7
    if byte < 0x80:
      return value, at
