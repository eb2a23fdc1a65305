"""Errors of jobs, and versions."""

import pytest

from pipelines.common import job


@pytest.mark.parametrize('error', [job.JobError, RuntimeError])
def test_a_job_error_is_one_sentence(error):
  def run():
    if error is job.JobError:
      raise job.JobError("ratings.csv is empty [while running 'Read']")
    raise RuntimeError(
      "pipelines.common.job.JobError: ratings.csv is empty [while running 'X']"
    )

  with pytest.raises(SystemExit) as raised:
    job.main(run)
  assert raised.value.code == 'error: ratings.csv is empty'


def test_other_errors_pass():
  def run():
    raise RuntimeError('a bug')

  with pytest.raises(RuntimeError, match='a bug'):
    job.main(run)


def test_versions():
  found = job.versions('numpy', 'no-such-package')
  assert found['numpy'][0].isdigit()
  assert found['no-such-package'] == 'not installed'
