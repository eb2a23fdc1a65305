"""What is said of an engine's flags before a pipeline is made."""

import logging
import socket

import pytest
from apache_beam.options import pipeline_options

from pipelines.common import engines
from tests.pipelines.common.test_flags import parse


@pytest.fixture
def service():
  """Address of a port where somebody listens."""
  with socket.create_server(('localhost', 0)) as server:
    yield f'localhost:{server.getsockname()[1]}'


def options_of(*arguments):
  return parse(['--ratings=x', *arguments])[1]


def check(*arguments):
  engines.check_engine(
    pipeline_options.PipelineOptions([*engines.DEFAULTS, *arguments]), []
  )


def test_a_launcher_follows_a_job_for_days_unless_told_otherwise():
  portable = pipeline_options.PortableOptions
  options = options_of()
  assert options.view_as(portable).job_server_timeout > 24 * 3600
  options = options_of('--job_server_timeout=5')
  assert options.view_as(portable).job_server_timeout == 5


def test_a_job_service_that_nobody_runs_is_told_at_once(capsys):
  with socket.create_server(('localhost', 0)) as server:
    free = f'localhost:{server.getsockname()[1]}'
  with pytest.raises(SystemExit, match='2'):
    options_of('--runner=PortableRunner', f'--job_endpoint={free}')
  said = capsys.readouterr().err
  assert f'error: --job_endpoint={free}: nobody answers there (' in said
  assert said.count('\n') == 1


@pytest.mark.parametrize('address', ['localhost', ':8099', 'localhost:http', '8099'])
def test_an_address_without_a_port(address):
  with pytest.raises(
    ValueError, match=f'^--job_endpoint={address}: expected host:port'
  ):
    check('--runner=PortableRunner', f'--job_endpoint={address}')


def test_a_port_out_of_range():
  with pytest.raises(ValueError, match='nobody answers there'):
    check('--runner=PortableRunner', '--job_endpoint=localhost:99999')


@pytest.mark.parametrize(
  ('arguments', 'told'),
  [
    (['--runner=FlinkRunner'], True),
    (['--runner=FlinkRunner', '--parallelism=4'], False),
    (['--runner=PortableRunner', '--job_endpoint=SERVICE'], True),
    (['--runner=PortableRunner', '--job_endpoint=SERVICE', '--parallelism=4'], False),
    (['--runner=PortableRunner', '--job_endpoint=embed'], False),
    (['--runner=SparkRunner'], False),
    ([], False),
  ],
)
def test_one_task_of_flink_is_told(arguments, told, service, caplog):
  with caplog.at_level(logging.WARNING):
    check(*(x.replace('SERVICE', service) for x in arguments))
  assert ('every step as one task' in caplog.text) is told


PORTABLE = ('--runner=PortableRunner', '--parallelism=2', '--environment_type=PROCESS')


@pytest.mark.parametrize('config', ['boot', '{"cmd": "x"}', '[]', '7'])
def test_a_process_without_a_command(config):
  with pytest.raises(ValueError, match=r'expected JSON, such as {"command": "/path/'):
    check(*PORTABLE, f'--environment_config={config}')


@pytest.mark.parametrize(('command', 'told'), [('sh', False), ('/no/boot', True)])
def test_a_process_that_is_not_here_is_told(command, told, caplog):
  check(*PORTABLE, f'--environment_config={{"command": "{command}"}}')
  assert ('/no/boot is no program on this machine' in caplog.text) == told
