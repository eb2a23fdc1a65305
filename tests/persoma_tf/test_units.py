"""Sizes and durations for people."""

import pytest

from persoma_tf.units import format_bytes, format_duration


@pytest.mark.parametrize(
  ('count', 'text'),
  [
    (0, '0 B'),
    (999, '999 B'),
    (1000, '1.0 kB'),
    (999_949, '999.9 kB'),
    (999_951, '1.0 MB'),
    (1_234_567_890, '1.2 GB'),
    (2e18, '2.0 EB'),
    (2e21, '2000.0 EB'),
  ],
)
def test_bytes(count, text):
  assert format_bytes(count) == text


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [
    (0, '0.0 s'),
    (2.34, '2.3 s'),
    (9.96, '10 s'),
    (59.7, '1 min'),
    (185, '3 min 5 s'),
    (3599.6, '1 h'),
    (3661, '1 h 1 min'),
    (90_000, '25 h'),
  ],
)
def test_durations(seconds, text):
  assert format_duration(seconds) == text
