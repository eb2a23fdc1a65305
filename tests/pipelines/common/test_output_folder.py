"""Folders that look finished only when they are."""

import hashlib

import pytest

from pipelines.common import output_folder, storage
from pipelines.common.job import JobError


def folder(path, **settings):
  return output_folder.OutputFolder(str(path), settings)


def test_life_of_a_folder(tmp_path):
  output = folder(tmp_path / 'out', seed=0)
  assert output.begin()
  output.write_json('dataset_info.json', {'a': 'ü'})
  with pytest.raises(JobError, match=r'no COMPLETED in it\).*build_histories'):
    output_folder.require_finished(output.path, 'pipelines.build_histories')
  output.complete()
  output.complete()
  found = output_folder.require_finished(output.path, 'pipelines.build_histories')
  assert found['settings'] == {'seed': 0}
  with pytest.raises(JobError, match=r'no encoder_info.json in it\).*embed_items'):
    output_folder.require_finished(output.path, 'pipelines.embed_items')
  assert storage.read_json(output.file('dataset_info.json')) == {'a': 'ü'}
  assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
    'COMPLETED',
    'dataset_info.json',
  ]
  assert not output.begin()


def test_unfinished_is_cleaned(tmp_path):
  output = folder(tmp_path / 'out')
  output.begin()
  storage.write_file(output.file('part'), b'half')
  (tmp_path / 'out' / 'part.tmp-123').write_bytes(b'half')
  assert output.begin()
  assert [path.name for path in (tmp_path / 'out').iterdir()] == ['UNFINISHED']


def test_overwrite_and_other_settings(tmp_path):
  output = folder(tmp_path / 'out', seed=0)
  output.begin()
  storage.write_file(output.file('old'), b'x')
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


def finished(path, *files):
  output = folder(path)
  output.begin()
  for name in files:
    storage.write_file(output.file(name), b'x')
  output.complete()
  return output


def test_a_file_that_came_later_is_safe(tmp_path):
  output = finished(tmp_path / 'out', 'ours')
  (tmp_path / 'out' / 'notes').mkdir()
  (tmp_path / 'out' / 'notes' / 'mine.txt').write_text('mine')
  with pytest.raises(JobError, match=r'mine\.txt'):
    output.begin(overwrite=True)
  assert not output.begin()
  for name in ('ours', 'notes/mine.txt', 'COMPLETED'):
    assert (tmp_path / 'out' / name).exists()


@pytest.mark.parametrize('text', ['', 'done', '[]', '{"seed": 0}'])
def test_the_marker_of_somebody_else(tmp_path, text):
  (tmp_path / 'COMPLETED').write_text(text)
  for overwrite in (False, True):
    with pytest.raises(JobError, match=r'PERSOMA did not write .*COMPLETED'):
      folder(tmp_path).begin(overwrite)
  assert (tmp_path / 'COMPLETED').read_text() == text


def test_a_job_cut_while_it_overwrites(tmp_path):
  output = finished(tmp_path / 'out', 'old')
  (tmp_path / 'out' / 'UNFINISHED').touch()  # cut before COMPLETED went
  assert not output.begin()
  (tmp_path / 'out' / 'COMPLETED').unlink()  # cut before the rest went
  assert output.begin()
  assert [path.name for path in (tmp_path / 'out').iterdir()] == ['UNFINISHED']


def test_a_job_cut_at_its_very_first_file(tmp_path):
  (tmp_path / 'UNFINISHED.tmp-123').touch()
  assert folder(tmp_path).begin()
  assert [path.name for path in tmp_path.iterdir()] == ['UNFINISHED']


def test_halves_do_not_stay(tmp_path):
  output = folder(tmp_path / 'out')
  output.begin()
  (tmp_path / 'out' / 'part.tmp-123').write_bytes(b'half')
  output.complete()
  assert [path.name for path in (tmp_path / 'out').iterdir()] == ['COMPLETED']


@pytest.mark.parametrize('name', ['./out', 'out/', 'a/../out', 'out[1]', 'out *?'])
def test_names_of_folders(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'a').mkdir()
  output = finished(name, 'ours')
  assert not output.begin()
  assert output.begin(overwrite=True)
  assert not (tmp_path / name / 'ours').exists()


def test_checksum(tmp_path):
  (tmp_path / 'file').write_bytes(b'abc')
  expected = hashlib.sha256(b'abc').hexdigest()
  assert storage.file_checksum(str(tmp_path / 'file')) == f'sha256:{expected}'
