"""Reads years and genres as people write them, and counts what cannot be read."""

import ast
import json
import logging
import re
import warnings
from collections import Counter
from collections.abc import Collection, Sequence

from pipelines.events import column_values

# The last two are MovieLens's.
_NO_GENRE = {*column_values.MISSING, '(no genres listed)', 'unknown'}
_YEAR = re.compile(
  r'(?!0000)(\d{4})(?:\.0*)?'  # 1995, 1995.0
  r'|(?!0000)(\d{4})([-/])\d{1,2}(?:\3\d{1,2}(?:[T ].*)?)?'  # 1995-10-30, with a time
  r'|(?!0000)(\d{4})\.\d{1,2}\.\d{1,2}'
  r'|\d{1,2}([-/. ]) ?(?:\d{1,2}|[^\W\d]{3,9})\5 ?(?!0000)(\d{4})'  # 30-Oct-1995
  r'|[^\W\d]{3,9}\.? \d{1,2}, (?!0000)(\d{4})'  # October 30, 1995
)
_YEAR_GROUPS = (1, 2, 4, 6, 7)
# A value of a Python list, and a missing comma: numpy writes ['Drama' nan 'War'].
_VALUE = re.compile(
  r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\b(?:nan|None)\b)"""
  r"""(\s+(?=['"]|nan\b|None\b))?""",
  re.DOTALL,
)
# An array of PostgreSQL: {Drama,"Sci-Fi"}. A bar or semicolon would be a separator.
_ELEMENT = r"""\s*(?:"((?:[^"\\]|\\.)*)"\s*|([^\s"'{}|;,\\][^"{}|;,\\]*))"""
_ARRAY = re.compile(rf'\{{{_ELEMENT}(?:,{_ELEMENT})*\}}', re.DOTALL)
_BRACKETS = ('()', '[]', '{}')
_SHOWN = 5  # examples of each kind
_LOGGER = logging.getLogger(__name__)


class ItemValues:
  """Reads the years and the genres of items, and remembers what they lacked."""

  def __init__(self, no_genre: Collection[str] = ()):
    """Sets the markers.

    Args:
      no_genre: further texts that mean 'no genre'; case and outer blanks do not count.
    """
    self._no_genre = _NO_GENRE | {_plain(text) for text in no_genre}
    self._years, self._markers, self._odd = Counter(), Counter(), Counter()

  def year(self, text: str) -> int | None:
    """Reads the year of a number or a date; None if there is none."""
    if column_values.is_missing(text):
      return None
    found = _YEAR.fullmatch(text.strip())
    if found:
      return int(next(filter(None, found.group(*_YEAR_GROUPS))))
    self._years[text] += 1
    return None

  def genres(self, value: str | Sequence[str | None], separator: str) -> list[str]:
    """Reads the genres of an item, without markers and without repetitions.

    Args:
      value: names between separators, a list, also as text of JSON, Python or
        PostgreSQL.
      separator: text between two names.
    """
    if isinstance(value, str):
      # A whole cell may be a marker that contains the separator, such as n/a.
      whole = [value] if _plain(value) in self._no_genre else _read_list(value)
      value = value.split(separator) if whole is None else whole
    names = []
    for name in filter(None, (name.strip() for name in value if name)):
      if _plain(name) in self._no_genre:
        self._markers[name] += 1
      elif name not in names:
        names.append(name)
        if _is_odd(name):
          self._odd[name] += 1
    return names

  def counts(self) -> dict:
    """Returns what was missing, as JSON types, for `dataset_info.json`."""
    return {
      'years_unreadable': self._years.total(),
      'years_unreadable_examples': _most_common(self._years),
      'no_genre_markers': _most_common(self._markers),
      'odd_genres': self._odd.total(),
      'odd_genres_examples': _most_common(self._odd),
    }

  def tell(self) -> None:
    """Logs what was missing."""
    years, odd = self._years.total(), self._odd.total()
    if self._markers:
      _LOGGER.info('no genre, by a marker: %s', _shown(self._markers))
    if years:
      _LOGGER.warning(
        '%d years cannot be read, such as %s; expected a year such as 1995 or a date '
        'such as 1995-10-30',
        years,
        _shown(self._years),
      )
    if odd:
      _LOGGER.warning(
        '%d genres look like a part of a list or like a marker, such as %s; expected '
        'names between separators, or a JSON or Python list in a cell; --no_genre '
        'names texts that mean no genre',
        odd,
        _shown(self._odd),
      )


def _plain(text):
  return text.strip().lower()


def _read_list(text):
  """Returns the names of a list as JSON, Python or PostgreSQL write it, else None."""
  text = text.strip()
  if text[:1] + text[-1:] not in _BRACKETS or len(text) < 2:
    return None
  for read in (json.loads, _read_python, _read_array):
    try:
      values = read(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
      continue
    if not isinstance(values, list | tuple):
      return None
    names = [_name(value) for value in values]
    return None if None in names else names
  return None


def _read_python(text):
  """Reads a list, tuple or set of Python, also as numpy writes it, and with nan."""
  if text[0] == '{':
    text = f'[{text[1:-1]}]'  # a set in the order as written
  text = _VALUE.sub(
    lambda found: (found[1], 'None')[found[1] == 'nan'] + (', ' if found[2] else ''),
    text,
  )
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Python warns of a backslash in a name
    return ast.literal_eval(text)


def _read_array(text):
  """Reads an array of PostgreSQL: names in double quotes, or bare; else None."""
  if not _ARRAY.fullmatch(text):
    return None
  return [
    bare or re.sub(r'\\(.)', r'\1', quoted, flags=re.DOTALL)
    for quoted, bare in re.findall(_ELEMENT, text[1:-1], re.DOTALL)
  ]


def _name(value):
  """Returns the text of a list's element, or None if it holds no name."""
  if isinstance(value, dict):  # TMDB: {'id': 18, 'name': 'Drama'}
    value = value.get('name', ())
  return None if isinstance(value, list | tuple | dict | set) else str(value)


def _is_odd(name):
  """Tells whether a name begins like a list or lacks one of two brackets."""
  quoted = len(name) > 1 and name[0] == name[-1] and name[0] in '\'"'
  unpaired = any(name.count(first) != name.count(last) for first, last in _BRACKETS)
  return name[0] in '([{' or quoted or unpaired


def _most_common(counter):
  return dict(counter.most_common(_SHOWN))


def _shown(counter):
  return ', '.join(f'{text!r} ({n:,})' for text, n in _most_common(counter).items())
