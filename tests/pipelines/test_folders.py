"""Folders that look finished only when they are."""

import hashlib

import pytest

from pipelines import folders
from pipelines.job import JobError


def folder(path, **settings):
  return folders.OutputFolder(str(path), settings)


def test_life_of_a_folder(tmp_path):
  output = folder(tmp_path / 'out', seed=0)
  assert output.begin()
  output.write_json('info.json', {'a': 'ü'})
  with pytest.raises(JobError, match=r'not a finished folder.*pipelines.x'):
    folders.require_finished(output.path, 'pipelines.x')
  output.complete()
  output.complete()
  assert folders.require_finished(output.path, 'x')['settings'] == {'seed': 0}
  assert folders.read_json(output.file('info.json')) == {'a': 'ü'}
  assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
    'COMPLETED',
    'info.json',
  ]
  assert not output.begin()


def test_unfinished_is_cleaned(tmp_path):
  output = folder(tmp_path / 'out')
  output.begin()
  folders.write_file(output.file('part'), b'half')
  (tmp_path / 'out' / 'part.tmp-123').write_bytes(b'half')
  assert output.begin()
  assert [path.name for path in (tmp_path / 'out').iterdir()] == ['UNFINISHED']


def test_overwrite_and_other_settings(tmp_path):
  output = folder(tmp_path / 'out', seed=0)
  output.begin()
  folders.write_file(output.file('old'), b'x')
  output.complete()
  other = folder(tmp_path / 'out', seed=1)
  with pytest.raises(JobError, match='seed was 0 and is 1'):
    other.begin()
  assert other.begin(overwrite=True)
  assert [path.name for path in (tmp_path / 'out').iterdir()] == ['UNFINISHED']


def test_foreign_files_are_safe(tmp_path):
  (tmp_path / 'thesis.tex').write_text('years of work')
  for overwrite in (False, True):
    with pytest.raises(JobError, match=r'thesis\.tex'):
      folder(tmp_path).begin(overwrite)
  assert (tmp_path / 'thesis.tex').exists()


def test_checksum(tmp_path):
  (tmp_path / 'file').write_bytes(b'abc')
  expected = hashlib.sha256(b'abc').hexdigest()
  assert folders.checksum(str(tmp_path / 'file')) == f'sha256:{expected}'
