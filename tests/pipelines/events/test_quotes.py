"""Quotes around values, and quotes that are characters like any other."""

import gzip

import pytest

from pipelines.events import input_files
from pipelines.events.mapping import formats_of
from pipelines.items.catalogue import read_items

TAB = 'item=id,delimiter=tab'
# As IMDb writes: no value in quotes, and quotes as characters.
PLAIN = ['1\tA\tRock', '2\t"Open\tPop', '3\t"weird ed" jones\tPop', '4\tThe 12"\tJazz']
# As pandas writes: quotes where a value needs them.
AROUND = [
  '1\tA\tRock',
  '2\t"say ""hi"""\tPop',
  '3\t"two\tparts"\tPop',
  '4\t"a\nb"\tPop',
]


def read(folder, lines, mapping, header='id\ttitle\tgenres', name='movies', pack=bytes):
  """Reads movies: their titles, and (line, reason) of bad rows."""
  (folder / name).write_bytes(pack('\n'.join([header, *lines, '']).encode()))
  return items_of(folder / name, mapping)


def items_of(pattern, mapping):
  files = input_files.find_files(str(pattern), formats_of(mapping)['movies'], 'movies')
  items = read_items(files)
  return items.table['title'].to_pylist(), [
    (row['record']['line'], row['reason']) for row in items.rejects
  ]


@pytest.mark.parametrize('pack', [bytes, gzip.compress])
@pytest.mark.parametrize('mapping', [TAB, f'{TAB},quotes=none'])
def test_quotes_that_are_characters(tmp_path, mapping, pack, caplog):
  titles, bad = read(tmp_path, PLAIN, mapping, pack=pack)
  assert titles == ['A', '"Open', '"weird ed" jones', 'The 12"']
  assert not bad
  told = [r.message for r in caplog.records if 'as characters' in r.message]
  assert len(told) == (mapping == TAB)  # a guess says so
  assert all('by the look of line 3' in text for text in told)


def test_an_open_quote_that_a_later_one_closes(tmp_path):
  lines = ['1\t"Open\tPop', '2\tB\tRock', '3\tThe 12"\tJazz']
  assert read(tmp_path, lines, TAB) == (['"Open', 'B', 'The 12"'], [])


@pytest.mark.parametrize('mapping', [TAB, f'{TAB},quotes=double'])
def test_quotes_around_values(tmp_path, mapping, caplog):
  titles, bad = read(tmp_path, AROUND, mapping)
  assert titles == ['A', 'say "hi"', 'two\tparts', 'a\nb']
  assert not bad
  (told,) = [record.message for record in caplog.records]
  assert '1 rows take several lines within quotes, the first one from line 5' in told


def test_our_own_names_with_tabs_are_no_format_without_header(tmp_path):
  header = 'item\ttitle\tgenres'
  titles, bad = read(tmp_path, AROUND, 'delimiter=tab', header)
  assert (titles, bad) == (['A', 'say "hi"', 'two\tparts', 'a\nb'], [])


def test_one_bad_row_does_not_change_how_the_others_are_read(tmp_path):
  every = ['"1"\t"A"\t"Rock"', '"2"\t"B"\t"Pop"', '"3"\t"C"x\t"Pop"']
  header = '"id"\t"title"\t"genres"'
  assert read(tmp_path, every, TAB, header) == (['A', 'B'], [(4, 'bad_quotes')])
  needed = [*AROUND[:2], '5\t"weird ed" jones\tPop']
  assert read(tmp_path, needed, TAB) == (['A', 'say "hi"'], [(4, 'bad_quotes')])


def test_commas_stand_between_quotes_as_in_csv(tmp_path):
  lines = ['1,A,Rock', '2,"weird ed" jones,Pop']
  found = read(tmp_path, lines, 'item=id', 'id,title,genres')
  assert found == (['A'], [(3, 'bad_quotes')])
  found = read(tmp_path, lines, 'item=id,quotes=none', 'id,title,genres')
  assert found == (['A', '"weird ed" jones'], [])


def test_parts_of_a_table_are_read_alike(tmp_path):
  """Else the item "B" would have another name in the part that has no open quote."""
  read(tmp_path, ['2\t"B"\tPop', '3\tC\tPop', '4\tD\tPop'], TAB, name='part-0')
  read(tmp_path, PLAIN[:1] + ['5\t"Open\tPop'], TAB, name='part-1')
  titles, bad = items_of(tmp_path / 'part-*', TAB)
  assert (titles, bad) == (['A', '"B"', 'C', 'D', '"Open'], [])


def test_quotes_in_most_rows_of_a_small_part_show_nothing(tmp_path):
  """Else the item "Low" would have another name in this part."""
  read(tmp_path, ['1\t"Live" X\tPop', '2\tA\tPop', '3\tB\tPop'], TAB, name='part-a')
  read(tmp_path, ['4\t"Heroes"\tPop', '5\tC\tPop', '6\tD\tPop'], TAB, name='part-b')
  read(tmp_path, ['7\t"Low"\tPop', '8\tE\tPop'], TAB, name='part-c')
  titles, bad = items_of(tmp_path / 'part-*', TAB)
  assert titles == ['"Live" X', 'A', 'B', '"Heroes"', 'C', 'D', '"Low"', 'E']
  assert not bad


def test_few_files_of_a_glob_show_what_quotes_are(tmp_path, monkeypatch):
  """The job must not read all data before it starts."""
  known, size = formats_of(TAB)['movies'], 0

  def count(file, most, read=input_files.open_files.read_up_to):
    nonlocal size
    data = read(file, most)
    size += len(data)
    return data

  rows = ''.join(f'{at}\tA\tPop\n' for at in range(200_000))
  for part in range(12):
    first = '' if part else '1\t"Open\tPop\n'
    (tmp_path / f'part-{part:02}').write_text(f'id\ttitle\tgenres\n{first}{rows}')
  monkeypatch.setattr(input_files.open_files, 'read_up_to', count)
  files = input_files.find_files(str(tmp_path / 'part-*'), known, 'movies')
  assert sum(file.size for file in files) > 25e6
  assert size < 10e6
  assert [file.layout.format.quoted for file in files] == [False] * 12


def test_a_swallowed_row_is_told(tmp_path, caplog):
  lines = ['1,"Open,Pop', '2,B,Rock', '3,The 12",Jazz', '4,"x\ny",Pop']
  titles, _ = read(tmp_path, lines, 'item=id', 'id,title,genres')
  assert len(titles) == 2
  (told,) = [record.message for record in caplog.records]
  assert '2 rows take several lines within quotes, the first one from line 2' in told
  assert '--mapping=quotes=none' in told


def test_a_quote_inside_a_value_opens_nothing(tmp_path):
  """The lines between two such values were one bad row."""
  lines = ['1,12" Vinyl,Pop', '2,B,Rock', '3,7" Vinyl,Pop']
  found = read(tmp_path, lines, 'item=id', 'id,title,genres')
  assert found == (['12" Vinyl', 'B', '7" Vinyl'], [])


def test_a_long_value_in_quotes(tmp_path):
  long = 'x' * 200_000
  lines = [f'1,"{long}",Pop', '2,12" Vinyl,Pop']
  found = read(tmp_path, lines, 'item=id', 'id,title,genres')
  assert found == ([long, '12" Vinyl'], [])


def test_a_header_of_several_lines_counts_as_lines(tmp_path, caplog):
  lines = ['"1","A","x","Rock"', '"2","B"', '"3","C","x","Pop"']
  header = '"id","title","note\n(any)","genres"'
  found = read(tmp_path, lines, 'item=id', header)
  assert found == (['A', 'C'], [(4, 'wrong_column_count')])
  (told,) = [record.message for record in caplog.records]
  assert told.endswith('movies: the header takes 2 lines within quotes')
