"""Makes the ids of texts of events: hashes, so every worker knows them without a table.

The id of a text that names columns of users is that of what the event says, followed by
the hash of the user's columns.
"""

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.common.job import JobError

_DIGEST_BYTES = 10  # two of a million texts have the same hash once in 10^12


def hash_texts(texts: Sequence[str]) -> str:
  """Returns the id of some texts."""
  data = b''.join(b'%d:%s' % (len(x), x) for x in map(str.encode, texts))
  return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


def check_found(rows: pa.Array) -> pa.Array:
  """Returns the rows [n] of texts in a table.

  Raises:
    JobError: a text has none.
  """
  if rows.null_count:
    raise JobError(
      'events have texts that they did not have when the job began: their files have '
      'changed; start the job again'
    )
  return rows


def event_ids(ids: pa.Array) -> pa.Array:
  """Returns the distinct ids of what events say, of ids of texts, in their order."""
  return pc.utf8_slice_codeunits(ids, 0, 2 * _DIGEST_BYTES).unique()
