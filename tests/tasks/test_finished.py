"""Folders that the tasks take, and those that they refuse."""

import pytest

from tasks import finished


@pytest.mark.parametrize(
  ('own', 'other', 'job'),
  [
    ('dataset_info.json', 'encoder_info.json', 'pipelines.build_histories'),
    ('encoder_info.json', 'dataset_info.json', 'pipelines.embed_items'),
  ],
)
def test_only_a_whole_folder_of_the_right_job(tmp_path, own, other, job):
  folder = str(tmp_path / 'x')
  refused = rf'x is not a finished folder of {job} \(no {{}} in it\): .* {job}$'
  with pytest.raises(FileNotFoundError, match=refused.format('COMPLETED')):
    finished.check_finished(folder, job)
  (tmp_path / 'x').mkdir()
  for name in ('COMPLETED', other):
    (tmp_path / 'x' / name).touch()
    with pytest.raises(FileNotFoundError, match=refused.format(own)):
      finished.check_finished(folder, job)
  (tmp_path / 'x' / own).touch()
  assert finished.check_finished(folder, job) == tmp_path / 'x'
