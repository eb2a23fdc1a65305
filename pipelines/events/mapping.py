"""Maps the columns of your own files to our fields.

`--mapping=user=customer,item=sku,rating=stars,timestamp=when,title=name,
genres=categories,genre_separator=;` or `--mapping=shop.json` with the same names:

    {"user": "customer", "item": "sku", "movies.item": "id", "time_unit": "ms"}

Where two kinds of files name a field differently, write the kind before the field, as
in `movies.item`, and so for options, as in `movies.delimiter`. A field without a
mapping keeps its own name. If the mapping has no field at all, its options (delimiter,
quotes, genre_separator, encoding, time_unit) change how the known formats are read.
"""

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping

from apache_beam.io.filesystems import FileSystems

from pipelines.common.job import JobError
from pipelines.events import column_values, text_encodings
from pipelines.events.formats import REQUIRED, Format
from pipelines.events.known_formats import KNOWN

_OPTIONAL = {'movies': ('year', 'description')}
_OPTIONS = ('delimiter', 'quotes', 'genre_separator', 'encoding', 'time_unit')
_TIME_UNITS = (*column_values.TIME_UNITS, column_values.ISO)
_DELIMITERS = {r'\t': '\t', 'tab': '\t'}
_CSV_DELIMITERS = (',', ';')  # of programs that write quotes around values
_QUOTES = ('none', 'double')


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
  formats, known = {}, set(_OPTIONS)
  for kind in KNOWN:
    fields = (*REQUIRED[kind], *_OPTIONAL.get(kind, ()))
    columns = {
      field: names.get(f'{kind}.{field}', names.get(field, field)) for field in fields
    }
    spelled = {*fields, *(f'{kind}.{field}' for field in fields)}
    options = _read_options(names, kind)
    own = Format('--mapping', kind, columns)
    chosen = (own,) if spelled & names.keys() else KNOWN[kind]
    # A format without header lines is known by its own delimiter.
    delimiter = options.get('delimiter')
    chosen = [
      fmt for fmt in chosen if not fmt.header or delimiter in (None, fmt.delimiter)
    ]
    formats[kind] = tuple(apply_options(fmt, options) for fmt in chosen)
    known |= {*spelled, *(f'{kind}.{option}' for option in _OPTIONS)}
  if unknown := sorted(names.keys() - known):
    nearest = difflib.get_close_matches(unknown[0], sorted(known), n=1)
    hint = f'; did you mean {nearest[0]}?' if nearest else ''
    raise JobError(f'--mapping: unknown field {unknown[0]}{hint}')
  return formats


def _read_options(names, kind):
  """Returns the options for a kind of file; raises JobError if one is wrong."""
  options = {
    option: names.get(f'{kind}.{option}', names.get(option))
    for option in _OPTIONS
    if option in names or f'{kind}.{option}' in names
  }
  for name, allowed in (('time_unit', _TIME_UNITS), ('quotes', _QUOTES)):
    if options.get(name, allowed[0]) not in allowed:
      raise JobError(
        f'--mapping: {name}={options[name]}: expected one of {", ".join(allowed)}'
      )
  for name in ('delimiter', 'genre_separator'):
    if options.get(name, ',') in ('', '"', '\n', '\r'):
      raise JobError(
        f'--mapping: {name}={options[name]!r}: expected a separator such as ; or tab'
      )
  if 'encoding' in options:
    encoding = text_encodings.find_encoding(options['encoding'])
    if not encoding:
      raise JobError(
        f'--mapping: encoding={options["encoding"]}: expected an encoding that extends '
        'ASCII, such as utf-8, latin-1 or cp1252'
      )
    options['encoding'] = encoding
  if 'delimiter' in options:
    options['delimiter'] = _DELIMITERS.get(options['delimiter'], options['delimiter'])
    check_delimiter(**options)
  return options


def check_delimiter(
  delimiter: str, quotes: str = '', encoding: str = 'utf-8', **_
) -> None:
  """Checks a delimiter beside the other options.

  Raises:
    JobError: the encoding lacks it, or it is too long beside quotes.
  """
  try:
    delimiter.encode(encoding)
  except UnicodeEncodeError:
    raise JobError(
      f'--mapping: delimiter={delimiter}: encoding={encoding} has no such character'
    ) from None
  if len(delimiter) > 1 and quotes == 'double':
    raise JobError(
      f'--mapping: delimiter={delimiter}: expected one character beside quotes=double'
    )


def apply_options(fmt: Format, options: Mapping[str, str]) -> Format:
  """Returns a format with options such as 'delimiter' and 'quotes'."""
  quotes = options.get('quotes')
  others = {name: value for name, value in options.items() if name != 'quotes'}
  fmt = dataclasses.replace(fmt, **others)
  if len(fmt.delimiter) > 1:
    quoted = False  # as in MovieLens-1M; csv needs one character
  elif quotes:
    quoted = quotes == 'double'
  else:
    quoted = fmt.quoted
    if quoted and fmt.delimiter not in _CSV_DELIMITERS:
      quoted = None
  return dataclasses.replace(fmt, quoted=quoted)


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
