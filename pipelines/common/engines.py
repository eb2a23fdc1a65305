"""Checks that an engine has the flags that it needs, before a pipeline is made.

Beam itself reports missing flags only when a pipeline is written or submitted, and
waits for minutes for a job service that nobody runs.
"""

import json
import logging
import shutil
import socket
from collections.abc import Sequence

from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.common.places import Place

logger = logging.getLogger(__name__)
_SECONDS = 10  # to wait for a job service
# Before the user's own flags, which overrule them. Beam's own default runner would look
# for a binary on the network. Its job server's timeout is also the longest time that a
# launcher follows a job on some services, 5 minutes by default: here a week.
DEFAULTS = ('--runner=FnApiRunner', f'--job_server_timeout={7 * 24 * 3600}')


def check_engine(
  options: PipelineOptions, paths: Sequence[tuple[str, str, Place]]
) -> None:
  """Checks the flags that the chosen engine needs.

  Args:
    options: Beam's options.
    paths: name, value and place of each flag that takes paths.

  Raises:
    ValueError: a flag is missing, workers cannot use its value, or nobody answers as
      the job service.
  """
  runner = options.view_as(pipeline_options.StandardOptions).runner.lower()
  if 'dataflow' in runner:
    _check_dataflow(options, paths)
  portable = options.view_as(pipeline_options.PortableOptions)
  service = portable.job_endpoint and portable.job_endpoint != 'embed'
  if service:
    _check_job_service(portable.job_endpoint)
  if portable.environment_type == 'PROCESS' and portable.environment_config:
    _check_process(portable.environment_config)
  parallelism = options.view_as(pipeline_options.FlinkRunnerOptions).parallelism
  if ('flink' in runner or service) and parallelism < 1:
    logger.warning(
      'without --parallelism Flink runs every step as one task on one worker, whatever '
      "the cluster's own default is: give the number of its task slots"
    )


def _check_dataflow(options, paths):
  """Checks the flags that Dataflow needs."""
  for name, value, place in paths:
    if place.by == 'workers' and place.is_local(value):
      verb = 'write' if name == 'output_dir' else 'read'
      raise ValueError(
        f'--{name}={value}: workers cannot {verb} there; expected gs://...'
      )
  setup = options.view_as(pipeline_options.SetupOptions)
  image = options.view_as(pipeline_options.WorkerOptions).sdk_container_image
  if not (setup.setup_file or image or setup.extra_packages):
    raise ValueError(
      'Dataflow workers need this package: add --setup_file=./setup.py, or '
      '--sdk_container_image with an image that has it'
    )
  if not options.view_as(pipeline_options.GoogleCloudOptions).project:
    raise ValueError('--runner=DataflowRunner needs --project')


def _check_job_service(endpoint):
  """Connects to a job service; a scheme such as dns:/// or unix: is left to gRPC."""
  host, _, port = endpoint.rpartition(':')
  if '/' in endpoint or host == 'unix':
    return
  if not host or not port.isdigit():
    raise ValueError(
      f'--job_endpoint={endpoint}: expected host:port, such as localhost:8099'
    )
  try:
    socket.create_connection((host.strip('[]'), int(port)), _SECONDS).close()
  except (OSError, OverflowError) as error:
    raise ValueError(
      f'--job_endpoint={endpoint}: nobody answers there ({error}); expected host and '
      'port of a job service that runs'
    ) from error


def _check_process(config):
  """Looks for the command that starts a worker; it may be on other machines only."""
  try:
    command = json.loads(config)['command']
  except (ValueError, TypeError, KeyError):
    raise ValueError(
      f'--environment_config={config}: expected JSON, such as '
      '{"command": "/path/to/boot"}'
    ) from None
  if not shutil.which(command):
    logger.warning(
      '%s is no program on this machine: if workers start here, the job cannot run; '
      'Prism waits for them without end',
      command,
    )
