"""Makes one page of a study's results.

    python -m pipelines.study_report --results_dir=runs/studies/quick/results \
      --output_dir=runs/studies/quick/report

Writes `study.html`, a page that needs nothing else, and `scores.md`, its main table,
which is also printed. Where cells name their questions, each of these has a page,
`study_like_v1.html`, and a table. `pipelines.study` calls it after every run.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.common import flags, job
from pipelines.common.flags import flag, path_flag
from pipelines.common.job import JobError
from pipelines.common.places import LOCAL


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  results_dir: str = path_flag(
    'folder with the results of the finished cells', place=LOCAL
  )
  output_dir: str = path_flag('folder to write', place=LOCAL)
  overwrite: bool = flag('write a finished folder again', False)


def read_cells(results_dir: str) -> list[dict[str, Any]]:
  """Reads the result of every cell in a folder.

  Raises:
    JobError: the folder holds no result, or a file that is no result of a cell.
  """
  from pipelines.report import study_numbers  # takes time, see `run`

  cells = []
  for path in sorted(pathlib.Path(results_dir).glob('*.json')):
    try:
      cell = json.loads(path.read_text())
      cells.append(cell)
      _ = cell['axes'][study_numbers.SEED], cell['took']
      if not cell['methods']['persoma']['users']:
        raise ValueError('it scores no users')
    except (ValueError, KeyError, TypeError) as error:
      raise JobError(
        f'{path} is no result of pipelines.study ({error!r}): move it away'
      ) from error
  if not cells:
    raise JobError(
      f'--results_dir={results_dir} holds no finished cell (*.json): '
      'python -m pipelines.study run makes them'
    )
  return cells


def as_markdown(cells: Sequence[Mapping[str, Any]]) -> str:
  """Returns the scores of one question's settings as a Markdown table, best first."""
  from pipelines.report import study_numbers  # takes time, see `run`

  word = study_numbers.word_of(cells)
  lines = [
    f'| setting | seeds | {word} | 95 % interval | of the bound | training | a user |',
    '|---|---|---|---|---|---|---|',
  ]
  for x in study_numbers.group_settings(cells):
    share = f'{x.value / x.bound:.2f}' if x.bound > 0 else '–'
    lines.append(
      f'| {x.label} | {len(x.cells)} | {x.value:.3f} | {x.low:.3f} to {x.high:.3f} '
      f'| {share} | {x.training_minutes:.1f} min | {x.prediction_seconds:.2f} s |'
    )
  return '\n'.join(lines) + '\n'


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the results or the output folder are not as they should be.
  """
  config = flags.parse(Config, argv, __doc__)
  # After the flags, for it takes seconds: --help and a bad flag answer at once.
  from pipelines.common import output_folder, storage
  from pipelines.report import study_numbers
  from pipelines.report.study_page import render_study_page

  cells = read_cells(config.results_dir)
  folder = output_folder.OutputFolder(
    config.output_dir,
    {'cells': [cell['cell'] for cell in cells]},
    'pipelines.study_report',
  )
  if not folder.begin(config.overwrite):
    return
  tables = []
  for question, own in study_numbers.by_question(cells).items():
    title = f'## {question}\n\n' if question else ''
    tables.append(f'{title}{as_markdown(own)}')
    page = f'study_{question}.html' if question else 'study.html'
    storage.write_file(folder.file(page), render_study_page(own).encode())
  text = '\n'.join(tables)
  storage.write_file(folder.file('scores.md'), text.encode())
  folder.complete()
  print(text, end='')


if __name__ == '__main__':
  from pipelines import study_report

  job.main(study_report.run)
