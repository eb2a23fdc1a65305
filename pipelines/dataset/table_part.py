"""Reads what a dataset file says about files with a table: paths, columns, options."""

import difflib
import os
import posixpath
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from persoma_tf import addresses
from pipelines.common.job import JobError
from pipelines.dataset.table_files import ITEM_BLOCKS, LAYOUTS
from pipelines.dataset.yaml_parts import Part
from pipelines.events import column_values, mapping, text_encodings

KEYS = ('files', 'columns', 'header', 'delimiter', 'quotes', 'encoding')
_DELIMITERS = {'tab': '\t', r'\t': '\t'}
_QUOTES = ('none', 'double')


def join_place(folder: str, path: str) -> str:
  """Returns a path or address that starts at a folder, if it is not whole itself."""
  path = addresses.local_path(path)
  if addresses.scheme_of(path) or os.path.isabs(path):
    return path
  scheme = addresses.scheme_of(folder)
  if not scheme:
    return os.path.normpath(os.path.join(folder, path))
  bucket, _, rest = folder.partition('://')[2].partition('/')
  return f'{scheme}://{bucket}/{posixpath.normpath(posixpath.join(rest, path))}'


def read_table(
  part: Part, folder: str, roles: Mapping[str, str], optional: Collection[str]
) -> dict[str, Any]:
  """Returns the fields of `dataset.TableFiles`.

  Args:
    part: part of the dataset file.
    folder: folder or address that paths start at.
    roles: key of a column that there must be -> what it is.
    optional: keys of columns that there may be.

  Raises:
    JobError: a value is wrong.
  """
  files = join_place(folder, part.text('files', expected='a path or glob'))
  names = _other_names(part, (*roles, *optional))
  of_roles = {role: part.text(role, expected=what) for role, what in roles.items()}
  of_roles |= {role: part.text(role) for role in optional if part.get(role)}
  columns = {role: names.get(name, name) for role, name in of_roles.items()}
  encoding = text_encodings.find_encoding(part.text('encoding', 'utf-8'))
  if not encoding:
    part.get('encoding').refuse(
      f'{part.text("encoding")!r}; expected an encoding that extends ASCII, such as '
      'utf-8 or cp1252'
    )
  quotes = part.text('quotes', '')
  if quotes and quotes not in _QUOTES:
    part.get('quotes').refuse(f'{quotes!r}; expected one of {list(_QUOTES)}')
  delimiter = read_separator(part, 'delimiter', ',')
  try:
    mapping.check_delimiter(delimiter, quotes, encoding)
  except JobError as error:
    part.get('delimiter').refuse(str(error).partition(': ')[2])
  header = [column.value for column in part.texts('header')]
  if len(set(header)) < len(header):
    part.get('header').refuse('a column stands twice')
  if header:
    check_header(header, columns, part.get)
  return {
    'files': files,
    'columns': names | columns,
    'delimiter': delimiter,
    'quotes': quotes,
    'encoding': encoding,
    'header': tuple(header),
    'place': f'{part.file}, line {part.get("files").line}: {part.path}.files',
  }


def read_time_unit(part: Part) -> str:
  """Returns the unit of the times in files.

  Raises:
    JobError: there is no such unit, or no time.
  """
  unit = part.text('time_unit', 's')
  units = (*column_values.TIME_UNITS, column_values.ISO)
  if unit not in units:
    part.get('time_unit').refuse(f'{unit!r}; expected one of {list(units)}')
  if part.get('time_unit') and not part.get('time'):
    part.get('time_unit').refuse(
      f'there is no time: expected a column of {part.path} as time'
    )
  return unit


def read_layout(part: Part) -> str:
  """Returns the layout of files of events, one of `LAYOUTS`.

  Raises:
    JobError: there is no such layout, or other keys do not fit it.
  """
  layout = part.text('layout', LAYOUTS[0])
  if layout not in LAYOUTS:
    part.get('layout').refuse(f'{layout!r}; expected one of {list(LAYOUTS)}')
  if layout != ITEM_BLOCKS:
    return layout
  if part.get('item'):
    part.get('item').refuse(
      f'lines such as 7: name the items in layout {layout}; leave out this key'
    )
  # A row of one column would be like a line with an item.
  if len(part.texts('header')) < 2:
    (part.get('header') or part.get('layout')).refuse(
      f'expected header: [...] with the columns of a row, two or more: files with '
      f'layout {layout} are text without a header line'
    )
  if ':' in part.text('delimiter', ','):
    part.get('delimiter').refuse(
      f'{part.text("delimiter")!r}; expected a delimiter without the colon, which ends '
      f'a line with an item in layout {layout}'
    )
  return layout


def _other_names(part: Part, roles: Collection[str]) -> dict[str, str]:
  """Returns the names that templates and roles may use -> names in the files."""
  found = part.get('columns')
  if found is None:
    return {}
  for name in found.names():
    if name in roles and name != 'title':
      found.get(name).refuse(
        f'is a key of its own; expected {name}: ... without columns'
      )
  return {name: found.text(name) for name in found.names()}


def read_separator(part: Part, key: str, default: str | None = None) -> str:
  """Returns the text between two values, under a key."""
  text = part.text(key, default, 'the text between two values')
  text = _DELIMITERS.get(text, text)
  if text in ('', '"', '\n', '\r'):
    part.get(key).refuse(f'{text!r}; expected a sign such as ; or tab')
  return text


def check_header(
  header: Sequence[str],
  columns: Mapping[str, str],
  part_of: Callable[[str], Part | None],
) -> None:
  """Checks that columns are in a header.

  Args:
    header: names of the columns of the files.
    columns: name -> name in the files.
    part_of: function from a name to the part that names it.

  Raises:
    JobError: one is not.
  """
  for name, column in columns.items():
    if column not in header:
      near = difflib.get_close_matches(column, header, n=1)
      hint = f'; did you mean {near[0]}?' if near else ''
      part_of(name).refuse(f'{column!r} is no column of header {list(header)}{hint}')
