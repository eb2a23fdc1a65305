"""Threads inside a worker."""

import threading

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipelines.common.threads import ThreadedDoFn


class Square(ThreadedDoFn):
  """Numbers to squares; the odd ones on the side; 13 is an error."""

  def work(self, element):
    assert threading.current_thread() is not threading.main_thread()
    if element == 13:
      raise ValueError('unlucky')
    odd = beam.pvalue.TaggedOutput('odd', element)
    return [element**2, *([odd] if element % 2 else [])]


@pytest.mark.parametrize('size', [0, 1, 12])
def test_every_element_comes_out(size):
  with beam.Pipeline('FnApiRunner') as pipeline:
    made = (
      pipeline
      | beam.Create(range(size))
      | beam.ParDo(Square()).with_outputs('odd', main='all')
    )
    assert_that(made.all, equal_to([n**2 for n in range(size)]), label='all')
    assert_that(made.odd, equal_to(list(range(1, size, 2))), label='odd')


def test_the_order_is_kept():
  work = Square()
  work.setup()
  work.start_bundle()
  out = [x for number in range(2, 10, 2) for x in work.process(number)]
  out += [windowed.value for windowed in work.finish_bundle()]
  work.teardown()
  assert out == [4, 16, 36, 64]


def test_an_error_is_raised():
  with pytest.raises(Exception, match='unlucky'), beam.Pipeline('FnApiRunner') as made:
    _ = made | beam.Create(range(20)) | beam.ParDo(Square())
