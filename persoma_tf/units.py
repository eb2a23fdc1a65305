"""Formats sizes and durations for people.

The package humanize writes '12 Bytes' and '3 minutes and 5.00 seconds'; changing its
output to '12 B' and '3 min 5 s' would take the same number of lines.
"""


def format_bytes(count: float) -> str:
  """Returns a number of bytes as a text such as '12 B' or '1.2 MB'."""
  if count < 1000:
    return f'{count:.0f} B'
  for unit in ('kB', 'MB', 'GB', 'TB', 'PB'):
    count /= 1000
    if count < 999.95:  # larger numbers would be rounded to 1000.0
      return f'{count:.1f} {unit}'
  return f'{count / 1000:.1f} EB'


def format_duration(seconds: float) -> str:
  """Returns a duration as a text such as '2.3 s', '3 min 5 s' or '1 h 20 min'."""
  if seconds < 9.95:
    return f'{seconds:.1f} s'
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  parts = [(hours, 'h'), (minutes, 'min'), (0 if hours else rest, 's')]
  return ' '.join(f'{count} {unit}' for count, unit in parts if count)
