"""build_histories with gs:// in and out, against the bucket emulator."""

import json

import pytest
from apache_beam.io.filesystems import FileSystems
from google.cloud import storage as google_storage

from pipelines import build_histories
from pipelines.common import output_folder, storage
from pipelines.common.job import JobError
from tests.engines.conftest import BUCKET, contents, flags
from tests.histories import without_owner


@pytest.fixture
def source(bucket_run) -> str:
  """The data in the bucket."""
  return bucket_run[0]


@pytest.fixture
def whole(bucket, bucket_run) -> str:
  """What the job writes where nothing fails."""
  return bucket_run[1]


@pytest.fixture
def output(bucket) -> str:
  """A folder that is not there yet."""
  return f'{bucket.path}/runs/h'


def comparable(files: dict[str, bytes], source) -> dict:
  """Without what names the place of the inputs and the bucket's own checksums."""
  files = {
    name: data.replace(str(source).encode(), b'SOURCE') for name, data in files.items()
  }
  for name in ('dataset_info.json', 'COMPLETED'):
    info = json.loads(files[name])
    for inputs in info.get('settings', info)['inputs'].values():
      for file in inputs:
        assert file.pop('checksum')
    info.pop('fingerprint', None)
    files[name] = info
  return files


def test_equals_a_local_run(source, whole, data, expected):
  made = contents(whole)
  assert comparable(made, source) == comparable(expected, data)
  prefix = whole.removeprefix(f'gs://{BUCKET}/') + '/'
  blobs = google_storage.Client().list_blobs(BUCKET, prefix=prefix)
  found = {
    blob.name[len(prefix) :]: without_owner(blob.download_as_bytes()) for blob in blobs
  }
  assert found == made


def test_finished_is_not_made_again(source, output, whole):
  build_histories.run(flags(source, output))
  FileSystems.delete([f'{output}/items.parquet'])
  build_histories.run(flags(source, output))
  assert 'items.parquet' not in contents(output)
  with pytest.raises(JobError, match='seed was 0 and is 1'):
    build_histories.run([*flags(source, output), '--seed=1'])
  build_histories.run([*flags(source, output), '--overwrite'])
  assert contents(output) == contents(whole)


def test_foreign_files_are_safe(source, output):
  storage.write_file(f'{output}/thesis.tex', b'years of work')
  with pytest.raises(JobError, match=r'thesis\.tex'):
    build_histories.run([*flags(source, output), '--overwrite'])
  assert contents(output) == {'thesis.tex': b'years of work'}


@pytest.mark.parametrize('name', ['train-00001', 'COMPLETED'])
def test_a_write_that_fails_in_the_middle(bucket, source, output, whole, name):
  bucket.fail(name, status=403, times=1000)
  with pytest.raises(Exception, match='403'):
    build_histories.run(flags(source, output))
  assert bucket.fail()
  left = contents(output)
  assert 'COMPLETED' not in left
  assert 'UNFINISHED' in left
  with pytest.raises(JobError, match='not a finished folder'):
    output_folder.require_finished(output, 'pipelines.build_histories')
  build_histories.run(flags(source, output))
  assert contents(output) == contents(whole)


@pytest.mark.parametrize('status', [0, 503])
def test_a_write_that_fails_once_is_tried_again(bucket, source, output, whole, status):
  bucket.fail('train-00001', status, times=1)
  build_histories.run(flags(source, output))
  assert len(bucket.fail()) == 1
  assert contents(output) == contents(whole)


@pytest.mark.parametrize('lacking', ['ratings', 'movies', 'output_dir'])
def test_no_such_bucket(source, output, lacking):
  address = 'gs://no-such-bucket/folder/*.csv'
  address = address.removesuffix('/*.csv') if lacking == 'output_dir' else address
  with pytest.raises(JobError, match=f'--{lacking}: .*gs://no-such-bucket.*404'):
    build_histories.run([*flags(source, output), f'--{lacking}={address}'])
  assert not contents(output)


def test_no_permission_to_write(bucket, source, output):
  bucket.fail('UNFINISHED', status=403, times=1000)
  with pytest.raises(JobError, match=f'--output_dir: {output}.*403'):
    build_histories.run(flags(source, output))
  assert bucket.fail()
