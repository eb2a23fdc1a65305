"""Maps the columns of your own files to our fields.

`--mapping=user=customer,item=sku,rating=stars,timestamp=when,title=name,
genres=categories,genre_separator=;` or `--mapping=shop.json` with the same names:

    {"user": "customer", "item": "sku", "movies.item": "id", "time_unit": "ms"}

Where two kinds of files name a field differently, write the kind before the field, as
in `movies.item`. A field without a mapping keeps its own name. If the mapping has no
field at all, its options (delimiter, genre_separator, encoding, time_unit) change how
the known formats are read.
"""

import dataclasses
import difflib
import json
import re

from apache_beam.io.filesystems import FileSystems

from pipelines.common.job import JobError
from pipelines.events import column_values
from pipelines.events.formats import KNOWN, REQUIRED, Format

_OPTIONAL = {'movies': ('year', 'description')}
_OPTIONS = ('delimiter', 'genre_separator', 'encoding', 'time_unit')
_TIME_UNITS = (*column_values.TIME_UNITS, column_values.ISO)
_DELIMITERS = {r'\t': '\t', 'tab': '\t'}


def formats_of(mapping: str) -> dict[str, tuple[Format, ...]]:
  """Returns the formats that each kind of file may have.

  Args:
    mapping: field=column pairs, the path of a JSON file, or '' for the known formats.

  Raises:
    JobError: the mapping has an unknown field or a bad value.
  """
  if not mapping:
    return KNOWN
  names = _read(mapping)
  unit = names.get('time_unit', 's')
  if unit not in _TIME_UNITS:
    raise JobError(
      f'--mapping: time_unit={unit}: expected one of {", ".join(_TIME_UNITS)}'
    )
  options = {name: names[name] for name in _OPTIONS if name in names}
  _check_text(options)
  if 'delimiter' in options:
    options['delimiter'] = _DELIMITERS.get(options['delimiter'], options['delimiter'])
    if len(options['delimiter']) > 1:
      options['quoted'] = False  # as in MovieLens-1M; csv needs one character
  formats, known = {}, set(_OPTIONS)
  for kind, required in REQUIRED.items():
    fields = (*required, *_OPTIONAL.get(kind, ()))
    columns = {
      field: names.get(f'{kind}.{field}', names.get(field, field)) for field in fields
    }
    spelled = {*fields, *(f'{kind}.{field}' for field in fields)}
    own = Format('--mapping', kind, columns, **options)
    others = (dataclasses.replace(other, **options) for other in KNOWN[kind])
    formats[kind] = (own,) if spelled & names.keys() else tuple(others)
    known |= spelled
  if unknown := sorted(names.keys() - known):
    nearest = difflib.get_close_matches(unknown[0], sorted(known), n=1)
    hint = f'; did you mean {nearest[0]}?' if nearest else ''
    raise JobError(f'--mapping: unknown field {unknown[0]}{hint}')
  return formats


def _check_text(options):
  """Checks that lines can be split with these options; raises JobError if not."""
  for name in ('delimiter', 'genre_separator'):
    if options.get(name, ',') in ('', '"', '\n', '\r'):
      raise JobError(
        f'--mapping: {name}={options[name]!r}: expected a separator such as ; or tab'
      )
  encoding = options.get('encoding', 'utf-8')
  try:
    extends_ascii = ',\n'.encode(encoding) == b',\n'
  except LookupError:
    extends_ascii = False
  if not extends_ascii:
    raise JobError(
      f'--mapping: encoding={encoding}: expected an encoding that extends ASCII, such '
      'as utf-8, latin-1 or cp1252'
    )


def _read(mapping) -> dict[str, str]:
  if mapping.endswith('.json'):
    try:
      with FileSystems.open(mapping) as file:
        names = json.loads(file.read())
    except (OSError, ValueError) as error:
      raise JobError(f'--mapping: cannot read {mapping}: {error}') from None
  else:
    pairs = [pair.partition('=') for pair in re.split(r',(?=[^,]*=)', mapping)]
    names = {name.strip(): value for name, equals, value in pairs if equals}
    if len(names) != len(pairs):
      raise JobError(
        f'--mapping={mapping}: expected field=column pairs with commas between them, '
        'each field once, or the path of a .json file'
      )
  if not isinstance(names, dict) or not all(isinstance(x, str) for x in names.values()):
    raise JobError(
      f'--mapping: {mapping}: expected a JSON object that maps field names to columns'
    )
  return names
