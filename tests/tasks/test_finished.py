"""Folders that the tasks take, and those that they refuse."""

import pytest

from tasks import finished


@pytest.mark.parametrize(
  ('kind', 'own', 'other', 'job'),
  [
    ('histories', 'dataset_info.json', 'encoder_info.json', 'build_histories'),
    ('embeddings', 'encoder_info.json', 'dataset_info.json', 'embed_items'),
  ],
)
def test_only_a_whole_folder_of_the_right_job(tmp_path, kind, own, other, job):
  folder = str(tmp_path / 'x')
  refused = rf'x: not a finished {kind} folder \(no {{}} in it\); .*pipelines\.{job}$'
  with pytest.raises(FileNotFoundError, match=refused.format('COMPLETED')):
    finished.check_finished(folder, kind)
  (tmp_path / 'x').mkdir()
  for name in ('COMPLETED', other):
    (tmp_path / 'x' / name).touch()
    with pytest.raises(FileNotFoundError, match=refused.format(own)):
      finished.check_finished(folder, kind)
  (tmp_path / 'x' / own).touch()
  assert finished.check_finished(folder, kind) == tmp_path / 'x'
