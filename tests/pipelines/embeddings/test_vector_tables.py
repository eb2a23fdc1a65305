"""Tables of vectors, from parts of a run."""

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.common.output_folder import OutputFolder
from pipelines.embeddings import vector_tables
from pipelines.embeddings.vector_parts import EncodedTexts, WriteParts
from pipelines.embeddings.vector_tables import TextVectors, VectorTable
from tasks import schema

WIDTH = 384


@pytest.fixture
def folder(tmp_path):
  """A folder in which a run has begun."""
  folder = OutputFolder(str(tmp_path / 'out'), {})
  folder.begin()
  return folder


def write_parts(folder, vectors, size):
  """Writes vectors as parts of some texts; the descriptions of the parts."""
  step = WriteParts(folder)
  cuts = range(0, len(vectors), size)
  return [x for at in cuts for x in step.process(EncodedTexts(at, vectors[at:][:size]))]


def test_vectors_of_texts(folder):
  """In any order, several times, or unknown; parts in the order of the list."""
  vectors = np.random.default_rng(0).standard_normal((7, 3), np.float32)
  parts = write_parts(folder, vectors, 3)
  assert [part[:2] for part in parts] == [(0, 3), (3, 6), (6, 7)]
  known = TextVectors('abcdefg', 3, parts, folder)
  asked = ['g', 'a', '', 'd', 'a', 'what']
  rows = [6, 0, 7, 3, 0, 7]
  expected = np.concatenate([vectors, np.zeros((1, 3))])[rows]
  np.testing.assert_array_equal(known.of(asked), expected)
  assert known.of([]).shape == (0, 3)
  assert not TextVectors([], 3, [], folder).of(['a']).any()


def test_a_part_that_is_written_again(folder):
  """Its worker was lost: the same file, which is not listed as one of the folder."""
  vectors = np.ones((2, 3), np.float32)
  first, again = (write_parts(folder, vectors, 2) for _ in range(2))
  assert first == again == [(0, 2, False)]
  np.testing.assert_array_equal(first[0].read(folder), vectors)
  assert not folder.names()
  folder.complete()
  assert [path.name for path in pathlib.Path(folder.path).iterdir()] == ['COMPLETED']


def test_unit_length(folder):
  vectors = np.eye(3, dtype=np.float32) * [[1], [1.0005], [1.1]]
  parts = write_parts(folder, vectors.astype(np.float32), 1)
  assert [part.of_unit_length for part in parts] == [True, True, False]


@pytest.mark.parametrize('group', [vector_tables._GROUP, 5_000])
def test_bytes_of_a_whole_table(group, folder, tmp_path, monkeypatch):
  """Pieces and groups of rows give the file of a table that is written at once."""
  monkeypatch.setattr(vector_tables, '_GROUP', group)
  rng, rows = np.random.default_rng(0), 13_000
  texts = [f'text {row}' for row in range(rows)]
  vectors = rng.standard_normal((rows, WIDTH), np.float32)
  known = TextVectors(texts, WIDTH, write_parts(folder, vectors, 4_000), folder)
  order = rng.permutation(rows)
  fields = {'a': [texts[row] for row in order], 'b': [''] * rows}
  table = VectorTable({'item_index': np.arange(rows)}, fields)
  assert len(table) == rows
  assert table.write(str(tmp_path / 'ours'), known) == {'a': WIDTH, 'b': WIDTH}
  whole = [vectors[order], np.zeros_like(vectors)]
  columns = [pa.FixedSizeListArray.from_arrays(x.ravel(), WIDTH) for x in whole]
  kinds = {'item_index': pa.int64()}
  arrow = schema.vectors_arrow(kinds, {'a': WIDTH, 'b': WIDTH})
  expected = pa.table([pa.array(np.arange(rows)), *columns], schema=arrow)
  pq.write_table(expected, tmp_path / 'whole', row_group_size=group)
  assert (tmp_path / 'ours').read_bytes() == (tmp_path / 'whole').read_bytes()


def test_given_vectors_and_no_rows(folder, tmp_path):
  known = TextVectors([], 2, [], folder)
  given = np.float32([[1, 2, 3]])
  keys = {'item_index': np.arange(1)}
  table = VectorTable(keys, {'item_vector': given})
  assert table.write(str(tmp_path / 'given'), known) == {'item_vector': 3}
  assert pq.read_table(tmp_path / 'given').to_pylist() == [
    {'item_index': 0, 'item_vector': [1, 2, 3]}
  ]
  VectorTable({'item_index': np.arange(0)}, {'x': []}).write(
    str(tmp_path / 'none'), known
  )
  found = pq.read_table(tmp_path / 'none')
  assert found.num_rows == 0
  assert found.schema == schema.vectors_arrow({'item_index': pa.int64()}, {'x': 2})
