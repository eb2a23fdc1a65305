"""Names the columns of an interaction in a stored history, and holds them together."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

# Features of a record, in the order of the fields below.
FEATURES = ('history_items', 'history_ratings', 'history_texts')
_NO_TEXTS = np.zeros(0, np.int64)


class HistoryColumns(NamedTuple):
  """Holds n interactions of a history, newest first.

  Attributes:
    items: [n] int64 row numbers of the item table.
    ratings: [n] float32 values, such as stars.
    texts: [n] int64 row numbers of the table of event texts; [0] where events have no
      texts beside their items.
  """

  items: np.ndarray
  ratings: np.ndarray
  texts: np.ndarray = _NO_TEXTS

  @classmethod
  def of_record(cls, record: Mapping[str, Any]) -> 'HistoryColumns':
    """Returns the columns of a history or of an example of a question."""
    return cls(*(np.asarray(record[name]) for name in FEATURES if name in record))

  def take(self, rows: np.ndarray | slice) -> 'HistoryColumns':
    """Returns some of the interactions."""
    return HistoryColumns(*(x[rows] if len(x) else x for x in self))


def on_history(make: Callable, *fields: np.ndarray) -> Any:
  """Calls a function with fields of a record, of which the first are `FEATURES`.

  Args:
    make: function (HistoryColumns, *other fields).
    *fields: values of the fields.
  """
  size = len(FEATURES)
  return make(HistoryColumns(*fields[:size]), *fields[size:])
