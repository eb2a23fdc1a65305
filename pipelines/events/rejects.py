"""Collects the rejects of the ratings and examples files, and writes one file.

A block counts lines from its own start; `WriteRejects` computes the line numbers in the
input file.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from pipelines.common import storage
from pipelines.common.job import reject
from pipelines.events.check import BadRow
from pipelines.events.rating_scale import SeenRatings, suggest_scale
from pipelines.events.reject_share import RejectTally, check_share


class BlockRejects(NamedTuple):
  """Holds the rejects of a piece of a block.

  Attributes:
    file: number of the file among the inputs.
    number: sort key of the piece within its file.
    path: address of the file.
    header_lines: number of header lines in the file.
    num_lines: number of lines of the piece, good and bad rows and item lines.
    num_bad: number of lines that are not valid ratings.
    bad: these lines, packed by `pack_bad`, because a file may have millions.
    seen: ratings of the piece, good and outside the scale; None if it has none.
    item_lines: number of lines that name an item and are no rows.
    question: question whose examples the file has; '' for ratings.
  """

  file: int
  number: int
  path: str
  header_lines: int
  num_lines: int
  num_bad: int
  bad: bytes
  seen: SeenRatings | None = None
  item_lines: int = 0
  question: str = ''


def pack_bad(rows: Sequence[BadRow]) -> bytes:
  """Returns bad rows as compressed JSON."""
  return zlib.compress(json.dumps(rows).encode(), level=1) if rows else b''


def unpack_bad(data: bytes) -> list[BadRow]:
  """Reverses `pack_bad`."""
  return [BadRow(*row) for row in json.loads(zlib.decompress(data))] if data else []


class RejectSummary(NamedTuple):
  """Counts the rows of all ratings files, and the rejects of each reason.

  Attributes:
    rows_in: number of rows.
    reasons: reason -> number of rejects.
    examples: question -> (number of rows, rejects by reason) of its examples' files.
  """

  rows_in: int
  reasons: Mapping[str, int]
  examples: Mapping[str, tuple[int, Mapping[str, int]]] = {}


class WriteRejects(beam.DoFn):
  """Writes the rejects of items and of all blocks to one file, in input order."""

  def __init__(self, output_dir: str, max_fraction: float):
    self._path = FileSystems.join(output_dir, 'rejects-00000-of-00001.jsonl')
    self._max_fraction = max_fraction

  def process(self, items: list[dict], blocks: Sequence[BlockRejects]) -> Iterator:
    """Writes the file and yields a RejectSummary.

    Raises:
      JobError: too many rows are rejects.
    """
    lines, before = [_line(record) for record in items], {}
    tallies = {kind: RejectTally() for kind in ('', *(x.question for x in blocks))}
    rows_in = Counter(dict.fromkeys(tallies, 0))
    for block in sorted(blocks, key=lambda block: block[:2]):
      first = before.get(block.file, block.header_lines) + 1
      before[block.file] = first - 1 + block.num_lines
      rows_in[block.question] += block.num_lines - block.item_lines
      stage = 'read_examples' if block.question else 'read_ratings'
      for bad in unpack_bad(block.bad):
        fields = bad._asdict()
        line, reason = first + fields.pop('line'), fields.pop('reason')
        record = reject(stage, reason, file=block.path, line=line, **fields)
        tallies[block.question].add(record)
        lines.append(_line(record))
    storage.write_file(self._path, b''.join(lines))
    seen = [block.seen for block in blocks if block.seen]
    self._check(tallies[''], rows_in[''], seen)
    counts = {
      kind: (rows_in[kind], dict(tally.reasons.most_common()))
      for kind, tally in tallies.items()
    }
    ratings = counts.pop('')
    for question, (rows, _) in counts.items():
      advice = f'; all rejects are in {self._path}'
      kind = 'dataset, users' if question == 'users' else f'dataset, {question}'
      check_share(tallies[question], kind, rows, self._max_fraction, advice)
    yield RejectSummary(*ratings, counts)

  def _check(self, tally, rows_in, seen):
    scale = ''
    # A few ratings outside the scale are mistakes of the data, not of the scale.
    if tally.reasons['rating_outside_scale'] > self._max_fraction * rows_in:
      scale = suggest_scale(seen)
    advice = f'{scale and f"; {scale}"}; all rejects are in {self._path}'
    check_share(tally, 'ratings', rows_in, self._max_fraction, advice)


def _line(record):
  return json.dumps(record, ensure_ascii=False).encode() + b'\n'
