"""Beam's own job service, with two workers a job: it has no flag for their number.

python -m tests.engines.job_service PORT_FILE
"""

import os
import sys
import threading

from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.local_job_service import BeamJob, LocalJobServicer

_WORKERS = 2


class _Job(BeamJob):
  def _invoke_runner(self):
    runner = FnApiRunner(provision_info=self._provision_info)
    runner._num_workers = _WORKERS
    return runner.run_via_runner_api(self._pipeline_proto, self.pipeline_options())


def main(port_file: str) -> None:
  """Serves until it is killed."""
  port = LocalJobServicer(beam_job_type=_Job).start_grpc_server()
  with open(f'{port_file}.tmp', 'w') as file:
    file.write(str(port))
  os.rename(f'{port_file}.tmp', port_file)
  threading.Event().wait()


if __name__ == '__main__':
  main(*sys.argv[1:])
