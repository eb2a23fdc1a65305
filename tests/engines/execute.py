"""Runs a submitted graph as the service does: its code comes from the staged package.

    CLEAN_PYTHON execute.py PIPELINE_FILE

Every environment of the graph becomes an SDK worker process of this very Python.
"""

import sys

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner


def main(path: str) -> None:
  """Raises what the job raises."""
  with open(path, 'rb') as file:
    graph = beam_runner_api_pb2.Pipeline.FromString(file.read())
  worker = f'{sys.executable} -m apache_beam.runners.worker.sdk_worker_main'
  for environment in graph.components.environments.values():
    environment.urn = python_urns.SUBPROCESS_SDK
    environment.payload = worker.encode()
    del environment.dependencies[:]  # installed already
  FnApiRunner().run_via_runner_api(graph, PipelineOptions([])).wait_until_finish()


if __name__ == '__main__':
  main(sys.argv[1])
