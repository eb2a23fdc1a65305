"""Files of folders: which are found, and where copies of a bucket's objects go."""

import pytest
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems

from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.histories import history_records
from pipelines.predictions import finished_shards, t5x_lines


def in_bucket(monkeypatch, names) -> str:
  """Lets a folder in a bucket have these names, in the order of a bucket's list."""
  folder = 'gs://bucket/folder'
  paths = sorted(f'{folder}/{name}' for name in names)
  monkeypatch.setattr(storage, 'list_files', lambda _: paths)
  return folder


def test_histories_are_known_by_their_whole_names(tmp_path):
  folder = tmp_path / 'old.tfrecord-data'
  right = ['train-00000-of-00002.tfrecord', 'train-00001-of-00002.tfrecord.gz']
  others = ['train-notes.txt', 'train-loss.tfrecord.txt', f'{right[0]}.tmp-1f']
  for name in [*right, *others, f'copy/{right[0]}', 'test-00000-of-00001.tfrecord']:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
  found = history_records.list_history_files(str(folder), 'train')
  assert found == [str(folder / name) for name in right]


def test_more_than_99_999_files_are_found_in_the_order_of_their_numbers(monkeypatch):
  total = 100_001
  name = lambda table, at, ending='': f'{table}-{at:05}-of-{total}{ending}'
  every = [name('predictions', at, '.avro') for at in range(total)]
  folder = in_bucket(monkeypatch, every)
  found = finished_shards.find_shards(folder, 'avro')
  assert found == [f'{folder}/{x}' for x in every]
  every = [name('train', at, '.tfrecord') for at in range(99_990, total)]
  folder = in_bucket(monkeypatch, every)
  found = history_records.list_history_files(folder, 'train')
  assert found == [f'{folder}/{x}' for x in every]


def test_as_many_answers_of_t5x(monkeypatch):
  name = 'q-predict_with_aux.jsonl-{:05}-of-100001'.format
  there = [name(at) for at in range(99_990, 100_001)]
  folder = in_bucket(monkeypatch, [*there, *(f'{x}.COMPLETED' for x in there)])
  with pytest.raises(JobError) as raised:  # the first ones are missing
    t5x_lines.answer_files(folder)
  missing = [name(at) for at in range(5)]
  assert str(raised.value) == f'{folder}: not finished by t5x.infer: {missing}'


@pytest.mark.parametrize('name', ['../../../outside/evil.py', '/{}/outside/evil.py'])
def test_no_object_is_written_outside_its_copy(tmp_path, monkeypatch, name):
  """Whoever may write to a bucket chooses the names of its objects."""
  name = name.format(str(tmp_path).lstrip('/'))
  folder = in_bucket(monkeypatch, ['a.parquet', name])
  monkeypatch.setattr(storage, 'read_file', lambda _: b'data')
  into = tmp_path / 'a' / 'b' / 'copy'
  raised = None
  try:
    storage.fetched(folder, lambda name: True, str(into))
  except JobError as error:
    raised = str(error)
  assert not list(tmp_path.rglob('evil.py'))
  assert raised == (
    f'{folder}/{name}: the name of this object leads out of {folder}; delete the object'
  )
  assert storage.fetched(folder, lambda name: name == 'a.parquet', str(into))
  assert (into / 'a.parquet').read_bytes() == b'data'


def test_the_marks_of_empty_folders_in_a_bucket_are_no_files(monkeypatch):
  class Matched:
    metadata_list = tuple(
      FileMetadata(f'gs://bucket/emb/{name}', 0) for name in ('', 'a.parquet', 'sub/')
    )

  monkeypatch.setattr(FileSystems, 'match', lambda patterns: [Matched])
  assert storage.list_files('gs://bucket/emb/') == ['gs://bucket/emb/a.parquet']
