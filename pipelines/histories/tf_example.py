"""Encodes and decodes tf.train.Example without TensorFlow, whole columns at a time.

The message is (tensorflow/core/example/{example,feature}.proto):
Example.features = 1; Features.feature = 1, a map of {key = 1, value = 2};
Feature.{bytes_list = 1, float_list = 2, int64_list = 3}; in each list, value = 1, and
numbers are packed. Features are sorted by name.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.common import arrow_bytes

_LIST_FIELD = {'bytes': 1, 'float': 2, 'int64': 3}
_KINDS = {field: kind for kind, field in _LIST_FIELD.items()}
_LENGTH_DELIMITED = 2


def encode_example_features(features: Mapping[str, tuple[str, Any]]) -> bytes:
  """Encodes one Example.

  Args:
    features: (kind, values) of each name; the kind is 'bytes' (values: bytes or str),
      'float' or 'int64' (values: numbers).
  """
  entries = []
  for name in sorted(features):
    kind, values = features[name]
    data = _texts(values) if kind == 'bytes' else _pack(kind, values)
    entries.append(_entry(name, kind, data))
  return _field(1, b''.join(entries))


def encode_many_features(features: Mapping[str, tuple[str, pa.Array]]) -> pa.Array:
  """Encodes many Examples to the same bytes as `encode_example_features`.

  Args:
    features: (kind, [n] binary) of each name; the binary of a record is its
      little-endian float32 for 'float', its `packed_varints` for 'int64', its
      `text_lists` for 'bytes'.

  Returns:
    [n] binary, serialized Examples.
  """
  parts = []
  for name in sorted(features):
    kind, data = features[name]
    parts.append(_with_head(data, functools.partial(_entry, name, kind)))
  return _with_head(arrow_bytes.concat(*parts), functools.partial(_field, 1))


def text_lists(lists: Sequence[Sequence[str]]) -> pa.Array:
  """Encodes lists of texts for `encode_many_features`, [n] binary."""
  return pa.array([_texts(texts) for texts in lists], pa.binary())


def single_texts(texts: pa.Array) -> pa.Array:
  """Encodes [n] string as lists of one text each for `encode_many_features`."""
  return _with_head(texts.cast(pa.binary()), functools.partial(_field, 1))


def packed_varints(values: np.ndarray, splits: np.ndarray) -> pa.Array:
  """Packs many int64 lists.

  Args:
    values: [n] int64, the concatenated lists.
    splits: [m + 1] int; list i is values[splits[i]:splits[i + 1]].

  Returns:
    [m] binary, the packed lists.
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
  return arrow_bytes.binary(out, ends[splits])


def decode_example_features(data: bytes) -> dict[str, Any]:
  """Decodes a serialized Example.

  Returns:
    The values of each name: a list of bytes, float32 [n] or int64 [n].

  Raises:
    ValueError: `data` is cut off, or not an Example with packed numbers.
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


def _with_head(data, wrap):
  """Prefixes every value with the header that `wrap` gives a value of its length."""
  lengths = pc.binary_length(data).dictionary_encode()
  heads = [wrap(bytes(n))[: -n or None] for n in lengths.dictionary.to_pylist()]
  return arrow_bytes.concat(pa.array(heads, pa.binary()).take(lengths.indices), data)


def _entry(name, kind, data):
  """Returns an entry of the map of features."""
  if kind != 'bytes' and data:
    data = _field(1, data)
  return _field(
    1, _field(1, name.encode()) + _field(2, _field(_LIST_FIELD[kind], data))
  )


def _texts(values):
  return b''.join(
    _field(1, value.encode() if isinstance(value, str) else value) for value in values
  )


def _pack(kind, values):
  if kind == 'float':
    return np.asarray(values, '<f4').tobytes()
  values = np.asarray(values, np.int64)
  return packed_varints(values, np.array([0, len(values)]))[0].as_py()


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
  """Returns (field number, payload) of each length-delimited field of a message."""
  fields, at = [], 0
  while at < len(data):
    tag, at = _read_varint(data, at)
    if tag & 7 != _LENGTH_DELIMITED:
      raise ValueError(f'example: wire type {tag & 7} at byte {at}, expected 2')
    length, at = _read_varint(data, at)
    if at + length > len(data):
      raise ValueError(f'example: {length} bytes at byte {at} of {len(data)}: cut off')
    fields.append((tag >> 3, data[at : at + length]))
    at += length
  return fields


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
