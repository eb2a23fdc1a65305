"""Converts columns of texts to numbers and times; the rows themselves stay."""

import datetime
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TIME_UNITS = {'s': 1, 'ms': 1_000, 'us': 1_000_000, 'ns': 1_000_000_000}
ISO = 'iso'  # time unit of texts such as 2024-01-31 or 2024-01-31T12:00:00+01:00
# Texts that stand for a missing value: of SQL, pandas, R, JSON, Python. In lower case.
MISSING = {'', '-', '\\n', 'nan', 'na', '<na>', 'n/a', 'none', 'null', '[]', '{}', '()'}
_DATE = re.compile(
  r'(\d{4})([-/])(\d{1,2})\2(\d{1,2})'
  r'(?:[T ](\d{1,2})(:\d{2}(?::\d{2}(?:\.\d+)?)?))?(?: ?(UTC|GMT|Z|[-+]\d\d:?\d\d))?'
)
_PLAIN_NUMBER = r'^-?[0-9]{1,15}(\.[0-9]{1,15})?$'


def is_missing(text: str) -> bool:
  """Tells whether a text stands for a missing value, such as nan or \\N."""
  return text.strip().lower() in MISSING


def known_texts(column: pa.Array) -> pa.Array:
  """Returns a column [n] as texts without outer spaces, '' for missing values."""
  found = pc.utf8_trim_whitespace(column.cast(pa.string()).fill_null(''))
  found = found.dictionary_encode()
  texts = ['' if is_missing(x) else x for x in found.dictionary.to_pylist()]
  return pa.array(texts, pa.string()).take(found.indices)


def numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
  """Converts a column of texts or numbers to numbers.

  Returns:
    (values [n] float64, [n] bool whether each value is a finite number).
  """
  try:
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values, np.isfinite(values)
  except pa.ArrowInvalid:
    pass
  column = column.fill_null('')
  plain = pc.match_substring_regex(column, _PLAIN_NUMBER).to_numpy(zero_copy_only=False)
  values = np.full(len(column), np.nan)
  values[plain] = column.filter(pa.array(plain)).cast(pa.float64()).to_numpy()
  others = column.filter(pa.array(~plain)).dictionary_encode()
  parsed = [_number(text) for text in others.dictionary]
  values[~plain] = np.array(parsed)[others.indices.to_numpy()]
  return values, np.isfinite(values)


def seconds(column: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
  """Converts a column of texts or numbers to whole seconds since 1970.

  Args:
    column: times [n].
    unit: key of `TIME_UNITS`, or `ISO`; an ISO time without a time zone is in UTC.

  Returns:
    (values [n] float64, [n] bool whether each value is a time).
  """
  if unit != ISO:
    values, good = numbers(column)
    return np.floor(values / TIME_UNITS[unit]), good
  distinct = column.cast(pa.string()).fill_null('').dictionary_encode()
  parsed = np.array([_iso_seconds(text.as_py()) for text in distinct.dictionary])
  values = parsed[distinct.indices.to_numpy()] if len(column) else np.zeros(0)
  return values, np.isfinite(values)


def iso_seconds(text: str) -> float:
  """Converts an ISO 8601 text to seconds since 1970; without a time zone it is UTC.

  Months and days may have one digit, dates slashes, and times the name UTC or GMT.

  Raises:
    ValueError: the text is no such date.
  """
  try:
    time = datetime.datetime.fromisoformat(text)
  except ValueError:
    # 2015-5-1 and 2015-05-20 21:34:02 UTC
    if not (found := _DATE.fullmatch(text)):
      raise
    year, _, month, day, hour, minutes, zone = found.groups(default='')
    clock = f'T{hour:0>2}{minutes}' if hour else ''
    zone = '' if zone in ('UTC', 'GMT', 'Z') or not hour else zone
    time = datetime.datetime.fromisoformat(f'{year}-{month:0>2}-{day:0>2}{clock}{zone}')
  return time.replace(tzinfo=time.tzinfo or datetime.UTC).timestamp()


def _iso_seconds(text):
  try:
    return math.floor(iso_seconds(text.strip()))
  except ValueError:
    return np.nan


def _number(text):
  """Converts a text as Arrow does, so that bad rows do not change good ones."""
  try:
    return pa.array([text.as_py()]).cast(pa.float64())[0].as_py()
  except pa.ArrowInvalid:
    return np.nan
