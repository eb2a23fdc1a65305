"""What Beam finds out once is what it finds out each time."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
  DirectOptions,
  PipelineOptions,
  SetupOptions,
  WorkerOptions,
)
from apache_beam.transforms import core

from tests import beam_once

FLAGS = ['--direct_num_workers=3', '--extra_package=a', '--extra_package=b', '--other']


@pytest.mark.parametrize('kind', [DirectOptions, SetupOptions, WorkerOptions])
def test_options_are_those_that_beam_parses(kind):
  plain = PipelineOptions.__new__(kind)
  beam_once._parse(plain, FLAGS)
  for _ in range(2):
    made = kind(FLAGS)
    assert made._flags is FLAGS
    assert made._visible_options == plain._visible_options
    assert made._all_options == plain._all_options
    assert made.get_all_options() == plain.get_all_options()


def test_options_are_not_shared():
  one, other = (PipelineOptions(FLAGS).view_as(SetupOptions) for _ in range(2))
  assert one.extra_packages == ['a', 'b']
  one.extra_packages.append('c')
  one.save_main_session = True
  assert (other.extra_packages, other.save_main_session) == (['a', 'b'], None)
  other = PipelineOptions(['--extra_package=d']).view_as(SetupOptions)
  assert other.extra_packages == ['d']
  assert DirectOptions(FLAGS, direct_num_workers=5).direct_num_workers == 5


def test_arguments_are_those_that_beam_finds():
  class Shared(beam.DoFn):
    def process(self, element, more=(1, 2), timestamp=beam.DoFn.TimestampParam):
      yield element

  class Other(Shared):
    def process(self, element, less=3):
      yield element

  for kind in (Shared, Other, Shared):
    for function in (kind().process, kind.process, kind().setup):
      found = core.get_function_args_defaults(function)
      assert found == tuple(map(list, beam_once._find_arguments(function)))
      found[1].append('changed')
