"""Rows below lines with their item, against a reader of one line after another."""

import dataclasses
import gzip
import random
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from pipelines.common.job import JobError
from pipelines.events import file_blocks, input_files, item_lines
from pipelines.events.check import read_ratings
from pipelines.events.formats import Format
from pipelines.events.rating_scale import RatingScale
from tests.pipelines.events.test_input_files import zstd

FORMAT = Format(
  'x.yaml',
  'ratings',
  {'user': 'user', 'rating': 'value', 'timestamp': 'time'},
  header=('user', 'value', 'time'),
  first_line='.',
  time_unit='iso',
  absent=('item',),
)
SIZES = (1, 2, 3, 7, 20, 64, 1 << 20)
GOOD = '7:\n1,3,2005-09-06\n22,5,2005-05-13\n8:\n9:\n1,4,2005-10-19\n'
BROKEN = (
  '1,3,2005-09-06\n\n7:\n2,3\n22,5,2005-05-13\nno row\n3,1,2005-01-01\n4,2\n'
  ' 8 : \n1,4,2005-10-19,\n1,4,2005-10-20\n:\n5,5,2005-01-01\n \n9:\n6,6,2005-01-02\n'
  'a:b:\n"1",2,2005-01-03\n"1:\n8,1,2005-01-04\n9:,,\n9,2,2005-01-05'
)
TEXTS = (GOOD, GOOD[:-1], BROKEN, '\ufeff' + GOOD, '7:', '8:\n')


def plain(text: str):
  """(rows (item, user, value, time), lines of rows that are none, lines with items)."""
  item, rows, bad, names = '', [], [], 0
  for number, line in enumerate(text.splitlines()):
    values = line.split(',')
    if len(values) == 1 and line.strip():
      item = line.strip()[:-1].strip() if line.strip().endswith(':') else ''
      names += bool(item)
      bad += [] if item else [number]
    elif len(values) == 3 and item and line.strip():
      rows.append((item, values[0].strip('"'), *values[1:]))
    else:
      bad.append(number)
  return rows, bad, names


def blocks_of(path, size, fmt=FORMAT):
  return file_blocks.cut_blocks(
    input_files.find_files(str(path), [fmt], 'dataset'), size
  )


def read(path, size, fmt=FORMAT):
  """What `plain` returns, read in blocks."""
  rows, bad, names, first = [], [], 0, 0
  for block in blocks_of(path, size, fmt):
    for piece in file_blocks.read_block(block):
      columns = [
        piece.columns[field].to_pylist()
        for field in ('item', 'user', 'rating', 'timestamp')
      ]
      for line, *row in zip(piece.lines.tolist(), *columns, strict=True):
        if any(row[1:]):
          rows.append(tuple(row))
        else:  # a blank line, which `check` rejects
          bad.append(first + line)
      bad += [first + line for line, _ in piece.bad]
      assert len(piece.lines) + len(piece.bad) + piece.item_lines == piece.num_lines
      names += piece.item_lines
      first += piece.num_lines
  return rows, sorted(bad), names


@pytest.mark.parametrize('pack', [bytes, gzip.compress, zstd])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('text', TEXTS)
@pytest.mark.parametrize('end', ['\n', '\r\n'])
def test_rows_have_the_item_above(pack, size, text, end, tmp_path):
  text = text.replace('\n', end)
  (tmp_path / 'x').write_bytes(pack(text.encode()))
  assert read(tmp_path / 'x', size) == plain(text.removeprefix('\ufeff'))


@pytest.mark.parametrize('head', [5, 64, 1 << 16])
def test_any_text_in_any_blocks(head, monkeypatch, tmp_path):
  monkeypatch.setattr(file_blocks, '_HEAD', head)
  draw = random.Random(head)
  kinds = ['7:', 'item 8:', ' ', '', 'x', ':', 'é:', '1,2', '::']
  kinds += ['1,2,2005-01-01'] * 8
  for number in range(20):
    lines = draw.choices(kinds, k=draw.randrange(1, 60))
    text = '1,2,3\n' + ''.join(x + draw.choice(['\n', '\r\n', '\n\n']) for x in lines)
    (tmp_path / 'x').write_text(text, newline='')
    assert read(tmp_path / 'x', draw.choice(SIZES)) == plain(text), number


def test_items_do_not_go_over_to_the_next_file(tmp_path):
  (tmp_path / 'x-1').write_text('7:\n1,3,2005-09-06\n')
  (tmp_path / 'x-2').write_text('')
  (tmp_path / 'x-3').write_text('2,3,2005-09-06\n8:\n3,3,2005-09-06\n')
  rows, bad, names = read(tmp_path / 'x-*', 20)
  assert [row[:2] for row in rows] == [('7', '1'), ('8', '3')]
  assert (bad, names) == ([2], 2)


@pytest.mark.parametrize('size', SIZES)
def test_lines_that_are_no_text(size, tmp_path):
  """Rows below them have no item, rows with bad bytes spoil nothing."""
  data = b'7:\n1,3,2005-09-06\n\xff,3,2005-09-06\n2,3,2005-09-06\n\xff:\n3,3,2005-09-06'
  (tmp_path / 'x').write_bytes(data)
  rows, bad, names = read(tmp_path / 'x', size)
  assert [row[:2] for row in rows] == [('7', '1'), ('7', '2')]
  assert (bad, names) == ([2, 4, 5], 1)


@pytest.mark.parametrize('encoding', ['cp1252', 'shift_jis', 'gb18030'])
@pytest.mark.parametrize('size', SIZES)
def test_other_encodings_and_delimiters(encoding, size, tmp_path):
  """The second byte of 表 is | in Shift-JIS."""
  name = 'é' if encoding == 'cp1252' else '表:ソ'
  text = f'{name}:\n1|3|2005-09-06\n2|3|2005-09-07\n'
  (tmp_path / 'x').write_bytes(text.encode(encoding))
  fmt = dataclasses.replace(FORMAT, delimiter='|', encoding=encoding)
  rows, bad, names = read(tmp_path / 'x', size, fmt)
  assert [row[:2] for row in rows] == [(name, '1'), (name, '2')]
  assert (bad, names) == ([], 1)


def test_rejects(tmp_path):
  (tmp_path / 'x').write_text(BROKEN)
  (block,) = blocks_of(tmp_path / 'x', 1 << 20)
  items = pa.array(['8', '7'])
  (made,) = read_ratings(block, items, RatingScale())
  assert made.batch['item'].to_pylist() == [1, 0]
  assert made.batch['user'].to_pylist() == ['22', '1']
  assert made.num_lines == made.batch.num_rows + made.num_bad + made.item_lines
  bad = {row.line + 1: row for row in made.bad}
  assert {line: row.reason for line, row in bad.items()} == {
    **{1: 'no_item_line', 2: 'blank_line', 4: 'wrong_column_count'},
    **{6: 'wrong_column_count', 7: 'no_item_line', 8: 'wrong_column_count'},
    **{10: 'wrong_column_count', 12: 'wrong_column_count', 13: 'no_item_line'},
    **{14: 'blank_line', 16: 'rating_outside_scale', 18: 'unknown_item'},
    **{20: 'unknown_item', 21: 'empty_field', 22: 'unknown_item'},
  }
  assert bad[18][2:] == ('item', 'a:b', '"1",2,2005-01-03', 'an id of the items')
  assert bad[16].field == 'value'
  line = 'a line such as 7: with the item of the rows below'
  assert bad[1].expected == f'above the row {line}'
  assert bad[4].expected == f'3 values: user,value,time; or {line}'


def test_a_block_costs_its_last_lines(tmp_path, monkeypatch):
  """What the launcher reads, where every block has a line with an item."""
  text = ''.join(f'{n}:\n' + '123,4,2005-01-01\n' * 60 for n in range(1000))
  (tmp_path / 'x').write_text(text)
  seen, own = [], item_lines.last_item

  def counted(data, fmt):
    seen.append(len(data))
    return own(data, fmt)

  monkeypatch.setattr(file_blocks, '_HEAD', 2000)
  monkeypatch.setattr(item_lines, 'last_item', counted)
  blocks = blocks_of(tmp_path / 'x', 100_000)
  assert len(blocks) == 11
  assert sum(seen) < 11 * 2100


def test_one_item_with_many_rows(tmp_path):
  """It is cut, and no more than a part of a block is in memory."""
  row = b'1488844,3,2005-09-06\n'
  with open(tmp_path / 'x', 'wb') as file:
    file.write(b'7:\n')
    for _ in range(100):
      file.write(row * 10_000)
  tracemalloc.start()
  blocks = blocks_of(tmp_path / 'x', 1 << 20)
  assert tracemalloc.get_traced_memory()[1] < 4 << 20
  count = 0
  for block in blocks:
    (piece,) = read_ratings(block, pa.array(['7']), RatingScale())
    count += np.count_nonzero(np.asarray(piece.batch['item']) == 0)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert [block.item for block in blocks] == ['', *['7'] * (len(blocks) - 1)]
  assert count == 1_000_000  # 21 MB
  assert peak < 12 << 20


def test_a_file_that_names_its_columns(tmp_path):
  (tmp_path / 'x').write_text('{"user": "1"}\n')
  with pytest.raises(JobError, match='leave out header, and layout, in the dataset'):
    blocks_of(tmp_path / 'x', 100)
