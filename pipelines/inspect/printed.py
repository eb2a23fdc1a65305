"""Formats descriptions and estimates as plain text."""

from collections.abc import Iterator, Mapping
from typing import Any

from persoma_tf.prompt_parts import NAMES
from persoma_tf.units import format_bytes, format_duration
from pipelines.report.score_lines import ranked_methods, shown_scores

_WIDTH = 200
_MOST_ARRAYS = 6


def format_folder(found: Mapping[str, Any]) -> str:
  """Formats the result of `folder_contents.describe_folder`."""
  size = format_bytes(found['bytes'])
  head = f'{found["path"]}: {found["kind"]}, {found["state"]}, {size}'
  shown = ('path', 'kind', 'state', 'bytes', 'damaged')
  rest = {name: value for name, value in found.items() if name not in shown}
  lines = [head, *(f'  DAMAGED {text}' for text in found.get('damaged', ()))]
  for name, value in rest.items():
    lines += _lines(name.replace('_', ' '), value, 1)
  return '\n'.join(lines)


def format_floors(found: Mapping[str, Any]) -> str:
  """Formats the result of `floors.describe_floors`."""
  if 'question' in found:
    return _format_choice_floors(found)
  ranked = sorted(found['methods'].items(), key=lambda pair: -pair[1]['f1'])
  share = lambda row: (
    f', {row["of_the_bound"]:.2f} of the bound' if 'of_the_bound' in row else ''
  )
  return '\n'.join(
    [
      f'{found["path"]}: {found["users"]} users of the split {found["split"]}',
      *(f'  {name:<20} F1 {row["f1"]:.3f}{share(row)}' for name, row in ranked),
      found['advice'],
    ]
  )


def _format_choice_floors(found):
  said = lambda value: '–' if value is None else f'{value:.3f}'
  shown = shown_scores(found['score'])
  cells = lambda row: ', '.join(f'{x} {said(row.get(key))}' for x, key in shown.items())
  ranked = ranked_methods(found['methods'], found['score'])
  return '\n'.join(
    [
      f'{found["path"]}: {found["examples"]} examples of {found["question"]}, of '
      f'{found["users"]} users of the split {found["split"]}',
      *(f'  {name:<20} {cells(row)}' for name, row in ranked),
      found['advice'],
    ]
  )


def format_costs(found: Mapping[str, Any]) -> str:
  """Formats the result of `costs.estimate_costs`."""
  lines = []
  for stage in found['stages']:
    extra = [f'{format_duration(stage["compile_seconds"])} to compile']
    if stage['validation_seconds']:
      extra.append(f'{format_duration(stage["validation_seconds"])} to validate')
    lines += [
      f'{stage["stage"]}: {format_duration(stage["seconds"])}, with {", ".join(extra)}',
      f'  {stage["parameters"]}, optimizer {format_bytes(stage["optimizer_bytes"])}',
      f'  {stage["steps"]:,} steps of {stage["batch_size"]} examples, '
      f'{stage["seconds_a_step"]:.3g} s each, '
      f'{stage["examples_a_second"]:.3g} examples/s',
      f'  a row: {stage["soft_tokens"]} soft tokens, {stage["prompt_tokens"]} of the '
      f'task prompt, {stage["target_tokens"]} of the target',
    ]
  return '\n'.join(
    [
      *lines,
      f'before an answer: {", ".join(map(_part, found["prompt_parts"]))}',
      f'in all: {format_duration(found["seconds"])}, without the start of the process',
      f'peak memory so far: {format_bytes(found["peak_memory_bytes"])}',
      f'parameters {format_bytes(found["parameter_bytes"])}, '
      f'largest checkpoint {format_bytes(found["checkpoint_bytes"])}',
    ]
  )


def _part(part):
  """Formats a part before an answer: a name as it is, a text as Python writes it."""
  return part if part in NAMES else repr(part)


def _lines(name: str, value: Any, depth: int) -> Iterator[str]:
  """Yields the lines of a named value; a mapping of plain values takes one line."""
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
    is_size = name.replace(' ', '_').endswith('bytes')
    yield _cut(f'{indent}{name}: {format_bytes(value) if is_size else _plain(value)}')


def _is_nested(value):
  return isinstance(value, Mapping | list) and bool(value)


def _plain(value, grouped=True):
  """Formats a value in one line; groups digits, except in lists with their commas."""
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
