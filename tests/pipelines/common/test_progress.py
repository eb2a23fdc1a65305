"""Progress passes elements on and counts them."""

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to

from pipelines.common.progress import ShowProgress


def test_elements_and_counter():
  pipeline = beam.Pipeline(runner='FnApiRunner')
  made = pipeline | beam.Create(['ab', 'c', '']) | beam.ParDo(ShowProgress('read', 'x'))
  assert_that(made, equal_to(['ab', 'c', '']))
  counters = pipeline.run().metrics().query()['counters']
  found = [counter.result for counter in counters if counter.key.metric.name == 'x']
  assert found == [3]
