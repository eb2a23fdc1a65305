"""Makes items of the texts of events, for data without items.

Where events have no item, what the encoder reads of an event is made from the event's
own columns. Each distinct text, or combination of texts, is an item. Its id is a hash
of the texts, so every worker knows the id of a row without a table.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipelines.events.column_values import is_missing
from pipelines.events.formats import Format
from pipelines.events.text_rows import ParsedRows

FIELD = 'field:'  # before the name of a column that only templates know
_DIGEST_BYTES = 10  # two of a million texts have the same hash once in 10^12


def text_name(place: int) -> str:
  """Returns the name of a column with texts of events, counted from 0."""
  return f'text_{place + 1}'


def hash_texts(texts: Sequence[str]) -> str:
  """Returns the id of the item that some texts stand for."""
  data = b''.join(b'%d:%s' % (len(x), x) for x in map(str.encode, texts))
  return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


def add_texts(found: ParsedRows, fmt: Format) -> ParsedRows:
  """Adds the columns `item`, text_1, ... as dictionaries [n].

  Args:
    found: rows of events.
    fmt: format with `texts`.
  """
  names = dict.fromkeys(name for text in fmt.texts for name in text.fields)
  columns = [
    found.columns[f'{FIELD}{name}'].cast(pa.string()).fill_null('') for name in names
  ]
  codes = np.stack([x.dictionary_encode().indices.to_numpy() for x in columns])
  _, first, codes = np.unique(codes, axis=1, return_index=True, return_inverse=True)
  rows = [column.take(pa.array(first)).to_pylist() for column in columns]
  written = []
  for values in zip(*rows, strict=True):
    known = ('' if is_missing(value) else value.strip() for value in values)
    row = dict(zip(names, known, strict=True))
    # Words around empty columns say nothing of an event, if they are not meant to.
    is_said = any(row.values()) or any(text.has_otherwise for text in fmt.texts)
    written.append([text.write(row) if is_said else '' for text in fmt.texts])
  made = {'item': [hash_texts(texts) if any(texts) else '' for texts in written]}
  for place in range(len(fmt.texts)):
    made[text_name(place)] = [texts[place] for texts in written]
  encoded = {
    name: pa.DictionaryArray.from_arrays(
      pa.array(codes.reshape(-1), pa.int32()), pa.array(texts, pa.string())
    )
    for name, texts in made.items()
  }
  return found._replace(columns={**found.columns, **encoded})
