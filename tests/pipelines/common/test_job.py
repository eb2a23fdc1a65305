"""Errors of jobs, and versions."""

import pytest
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException

from pipelines.common import job

_OF_A_WORKER = "pipelines.common.job.JobError: ratings.csv is empty [while running 'X']"


@pytest.mark.parametrize(
  'error',
  [
    job.JobError("ratings.csv is empty [while running 'Read']"),
    RuntimeError(_OF_A_WORKER),
    DataflowRuntimeException(f'State: FAILED, Error:\n{_OF_A_WORKER}\n', None),
  ],
)
def test_a_job_error_is_one_sentence(error):
  def run():
    raise error

  with pytest.raises(SystemExit) as raised:
    job.main(run)
  assert raised.value.code == 'error: ratings.csv is empty'


_OF_AN_ENGINE = 'Pipeline job-1 failed in state FAILED: worker[1] is gone\nat java'


_OF_GRPC = """<_MultiThreadedRendezvous of RPC that terminated with:
\tstatus = StatusCode.UNAVAILABLE
\tdetails = "worker[1] is gone"
>"""


@pytest.mark.parametrize('text', [_OF_AN_ENGINE, _OF_GRPC, f'Traceback\n{_OF_GRPC}'])
def test_what_an_engine_says_is_one_sentence(text):
  def run():
    raise RuntimeError(text)

  with pytest.raises(SystemExit) as raised:
    job.main(run)
  said = raised.value.code
  assert said.startswith('error: the engine gave up: worker[1] is gone; the logs')
  assert '\n' not in said


@pytest.mark.parametrize(
  'text', ['a bug', f'{_OF_AN_ENGINE}\nTraceback (most recent call last):\na bug']
)
def test_other_errors_pass(text):
  def run():
    raise RuntimeError(text)

  with pytest.raises(RuntimeError, match='a bug'):
    job.main(run)


def test_a_file_that_a_worker_does_not_see():
  error = "FileNotFoundError: [Errno 2] No such file or directory: '/h' [while running"

  def run():
    raise RuntimeError(error)

  with pytest.raises(SystemExit) as raised:
    job.main(run)
  said = "error: a worker: No such file or directory: '/h'; inputs and output must be "
  assert raised.value.code.startswith(said)


def test_versions():
  found = job.versions('numpy', 'no-such-package')
  assert found['numpy'][0].isdigit()
  assert found['no-such-package'] == 'not installed'
