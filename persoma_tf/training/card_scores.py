"""Writes the scores of a report into a model card."""

from collections.abc import Mapping
from typing import Any

from persoma_tf.training.markdown import markdown_code, markdown_table


def scores_section(report: Mapping[str, Any] | None) -> str:
  """Returns the section of a model card with the scores of a report, if given."""
  title = '## Test scores\n\n'
  if report is None:
    return (
      f'{title}Not in this file. `pipelines.evaluate --model_dir` writes a card with '
      'scores, `model_card.md`, into the folder of its report.'
    )
  if 'question' in report['data']:  # one about examples
    return title + _scores_of_others(report)
  rows = [
    (
      name,
      f'{row["f1"]:.3f}',
      f'{row["f1_low"]:.3f} to {row["f1_high"]:.3f}' if 'f1_low' in row else '–',
      f'{row["precision"]:.3f}',
      f'{row["recall"]:.3f}',
      f'{row["parse_failures"]} of {row["users"]}',
    )
    for name, row in sorted(report['methods'].items(), key=lambda x: -x[1]['f1'])
  ]
  headers = ('method', 'F1', '95 % interval', 'precision', 'recall', 'parse failures')
  split = markdown_code(report['data']['split'])
  coverage = report['data'].get('coverage')  # older reports have none
  if coverage and coverage['users_scored'] < coverage['users_in_split']:
    split += ' ({users_scored} of its {users_in_split} users)'.format(**coverage)
  text = (
    f'{title}On the split {split}; `persoma` is this model. F1 is weighted over liked '
    'and disliked classes, intervals are bootstrapped over users.'
  )
  if better := report.get('better_baseline'):  # older reports have none
    text += f' {better["text"]}'
  return f'{text}\n\n{markdown_table(headers, rows)}'


def _scores_of_others(report):
  """Returns the scores of a question about examples: every number of each method."""
  methods = report['methods']
  is_number = lambda x: isinstance(x, int | float) and not isinstance(x, bool)
  found = [key for row in methods.values() for key in row if is_number(row[key])]
  names = [*dict.fromkeys(found)]
  shown = lambda x: f'{x:.3f}' if isinstance(x, float) else f'{x:,}' if x else '–'
  rows = [(name, *(shown(row.get(x)) for x in names)) for name, row in methods.items()]
  split = markdown_code(report['data']['split'])
  table = markdown_table(('method', *(x.replace('_', ' ') for x in names)), rows)
  better = report.get('better_baseline')
  said = f' {better["text"]}' if better else ''
  return f'On the split {split}; `persoma` is this model.{said}\n\n{table}'
