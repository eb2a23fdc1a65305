"""Descriptions and estimates as plain text for people."""

from collections.abc import Iterator, Mapping
from typing import Any

_WIDTH = 200
_MOST_ARRAYS = 6


def format_folder(found: Mapping[str, Any]) -> str:
  """Of `folders.describe`."""
  head = f'{found["path"]}: {found["kind"]}, {found["state"]}, {size(found["bytes"])}'
  shown = ('path', 'kind', 'state', 'bytes', 'damaged')
  rest = {name: value for name, value in found.items() if name not in shown}
  lines = [head, *(f'  DAMAGED {text}' for text in found.get('damaged', ()))]
  for name, value in rest.items():
    lines += _lines(name.replace('_', ' '), value, 1)
  return '\n'.join(lines)


def format_costs(found: Mapping[str, Any]) -> str:
  """Of `estimate.estimate`."""
  lines = []
  for stage in found['stages']:
    extra = [f'{duration(stage["compile_seconds"])} to compile']
    if stage['validation_seconds']:
      extra.append(f'{duration(stage["validation_seconds"])} to validate')
    lines += [
      f'{stage["stage"]}: {duration(stage["seconds"])}, with {", ".join(extra)}',
      f'  {stage["parameters"]}, optimizer {size(stage["optimizer_bytes"])}',
      f'  {stage["steps"]:,} steps of {stage["batch_size"]} examples, '
      f'{stage["seconds_a_step"]:.3g} s each, '
      f'{stage["examples_a_second"]:.3g} examples/s',
      f'  a row: {stage["soft_tokens"]} soft tokens, {stage["prompt_tokens"]} of the '
      f'task prompt, {stage["target_tokens"]} of the target',
    ]
  return '\n'.join(
    [
      *lines,
      f'in all: {duration(found["seconds"])}, without the start of the process',
      f'peak memory so far: {size(found["peak_memory_bytes"])}',
      f'parameters {size(found["parameter_bytes"])}, '
      f'largest checkpoint {size(found["checkpoint_bytes"])}',
    ]
  )


def size(count: float) -> str:
  """Bytes, as '1.2 MB'."""
  for unit in ('B', 'kB', 'MB', 'GB'):
    if count < 1000 or unit == 'GB':
      return f'{count:.0f} B' if unit == 'B' else f'{count:.1f} {unit}'
    count /= 1000
  raise AssertionError('the last unit has no end')


def duration(seconds: float) -> str:
  """As '3 min 5 s'."""
  if seconds < 10:
    return f'{seconds:.1f} s'
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours} h {minutes} min'
  return f'{minutes} min {rest} s' if minutes else f'{rest} s'


def _lines(name: str, value: Any, depth: int) -> Iterator[str]:
  """A value under its name; mappings of plain values take one line."""
  indent = '  ' * depth
  if isinstance(value, Mapping) and name in ('arrays', 'parameters'):
    yield f'{indent}{name}:'
    for key, x in [*value.items()][:_MOST_ARRAYS]:
      yield _cut(f'{indent}  {key}: {_plain(x)}')
    if (more := len(value) - _MOST_ARRAYS) > 0:
      yield f'{indent}  … and {more} more; --json has them all'
  elif isinstance(value, Mapping) and any(map(_is_nested, value.values())):
    yield f'{indent}{name}:'
    for key, x in value.items():
      yield from _lines(key, x, depth + 1)
  elif isinstance(value, list) and any(map(_is_nested, value)):
    yield f'{indent}{name}:'
    for x in value:
      yield _cut(f'{indent}  - {_plain(x, False)}')
  elif isinstance(value, Mapping) and name in ('fields', 'configuration'):
    yield f'{indent}{name}:'
    for key, x in value.items():
      yield _cut(f'{indent}  {key}: {_plain(x)}')
  else:
    kind = size(value) if name.replace(' ', '_').endswith('bytes') else _plain(value)
    yield _cut(f'{indent}{name}: {kind}')


def _is_nested(value):
  return isinstance(value, Mapping | list) and bool(value)


def _plain(value, grouped=True):
  """A value in a line; digits are grouped but in lists, which have other commas."""
  if isinstance(value, Mapping):
    return ', '.join(f'{key} {_plain(x, grouped)}' for key, x in value.items())
  if isinstance(value, list | tuple):
    return f'[{", ".join(_plain(x, False) for x in value)}]'
  if isinstance(value, bool) or not isinstance(value, int | float):
    return (
      repr(value) if isinstance(value, str) and value != value.strip() else str(value)
    )
  if isinstance(value, float):
    return f'{value:.6g}'
  return f'{value:,}' if grouped else str(value)


def _cut(line):
  line = line.replace('\n', '\\n')
  return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + '…'
