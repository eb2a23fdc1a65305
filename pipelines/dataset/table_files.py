"""Describes files with a table."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

from pipelines.common.job import JobError
from pipelines.events import mapping
from pipelines.events.formats import REQUIRED, Format

ITEM_BLOCKS = 'item_blocks'  # a line such as 7: names the item of the rows below it
LAYOUTS = ('rows', ITEM_BLOCKS)


@dataclasses.dataclass(frozen=True)
class TableFiles:
  """Describes files with one table.

  Attributes:
    files: path or glob.
    columns: name in this dataset file -> name of the column in the files.
    delimiter: text between two values.
    quotes: 'double' or 'none': what quotes are; '' if the files must tell.
    encoding: encoding of the text.
    header: names of the columns if the files have no header line.
    place: file, line and key where a dataset file names the files.
  """

  files: str
  columns: Mapping[str, str]
  delimiter: str = ','
  quotes: str = ''
  encoding: str = 'utf-8'
  header: tuple[str, ...] = ()
  place: str = dataclasses.field(default='', compare=False)

  @contextlib.contextmanager
  def explained(self) -> Iterator[None]:
    """Tells the place of the files where they are not as they should be.

    Raises:
      JobError: in place of another one.
    """
    try:
      yield
    except JobError as error:
      raise JobError(
        f'{self.place}: {str(error).removeprefix("--dataset: ")}'
      ) from None

  def column(self, name: str) -> str:
    """Returns the name in the files of a column that a template names."""
    return self.columns.get(name, name)


@dataclasses.dataclass(frozen=True)
class ItemFiles(TableFiles):
  """Describes the items, one a row; `columns` has item, and may have title.

  Attributes:
    lists: name of a column with several names -> text between two of them.
    no_name: texts in these columns that mean none.
    categories: one of `lists`, whose names are the items' categories; '' for none, or
      those of the question that names them.
  """

  lists: Mapping[str, str] = dataclasses.field(default_factory=dict)
  no_name: tuple[str, ...] = ()
  categories: str = ''


def table_format(
  name: str, kind: str, table: TableFiles, columns: Mapping[str, str]
) -> Format:
  """Returns the format of files with a table.

  Args:
    name: path of the dataset file.
    kind: kind of the files, a key of `formats.REQUIRED`.
    table: the files.
    columns: our field name -> name in the files; without any, no column is required.
  """
  options = {'delimiter': table.delimiter, 'encoding': table.encoding}
  options |= {'quotes': table.quotes} if table.quotes else {}
  found = Format(
    name,
    kind,
    columns,
    header=table.header,
    first_line='.' if table.header else '',
    absent=() if columns else REQUIRED[kind],
  )
  return mapping.apply_options(found, options)
