"""Lists the state of a study's cells, and estimates the time of the missing ones."""

import json
import statistics

from persoma_tf.units import format_duration
from pipelines.report import study_numbers
from pipelines.study import claims
from pipelines.study.cells import StudyFolder
from pipelines.study.study_file import Cell, Study

# Cells with equal values on these axes take similar time; the closest match first.
_ALIKE = (
  ('question', 'recipe', 'adapter', 'tuning', 'backbone', 'max_history'),
  ('recipe', 'adapter', 'tuning', 'backbone'),
  ('recipe', 'backbone'),
)


def finished_results(folder: StudyFolder, study: Study) -> list[dict]:
  """Reads the results of the study's finished cells."""
  paths = map(folder.result, study.cells)
  return [json.loads(path.read_text()) for path in paths if path.exists()]


def estimate_minutes(folder: StudyFolder, study: Study, cell: Cell) -> float:
  """Estimates the minutes of a cell by the mean of the most similar finished cells.

  Without similar cells, returns `minutes` of the study file, which is 0 if not given.
  """
  results = finished_results(folder, study)
  for names in _ALIKE:
    alike = [
      row['wall_seconds'] / 60
      for row in results
      if all(row['axes'].get(name) == cell.axes.get(name) for name in names)
    ]
    if alike:
      return statistics.mean(alike)
  return study.minutes


def about(minutes: float) -> str:
  """Returns an estimate as text, to the minute; '?' for 0, an unknown time."""
  return format_duration(60 * max(1, round(minutes))) if minutes else '?'


def cell_state(folder: StudyFolder, cell: Cell) -> str:
  """Returns 'finished', 'failed', 'at work on <host>' or 'missing'."""
  if folder.result(cell).exists():
    return 'finished'
  if who := claims.holder(folder.claim(cell.name)):
    return f'at work on {who}'
  return 'failed' if folder.error(cell).exists() else 'missing'


def study_table(folder: StudyFolder, study: Study) -> str:
  """Lists every cell with its state and its score or estimate, then the remainder."""
  lines, left = [], []
  for cell in study.cells:
    now = cell_state(folder, cell)
    if now == 'finished':
      row = json.loads(folder.result(cell).read_text())
      score = f'{study_numbers.word_of([row])} {study_numbers.value_of(row):.3f}'
      number = f'{score:<8}  {format_duration(row["wall_seconds"]):>9}'
    else:
      minutes = estimate_minutes(folder, study, cell)
      left.append(minutes)
      number = f'{"":8}  {about(minutes):>9}'
    lines.append(f'{number}  {now:<10}  {cell.name}')
    if now == 'failed':
      lines.append(f'    {folder.error(cell).read_text().strip()}')
  done = len(study.cells) - len(left)
  lines.append(f'{done} of {len(study.cells)} cells finished{_remainder(left)}')
  return '\n'.join(lines)


def _remainder(left):
  if not left:
    return ''
  unknown = left.count(0)
  if unknown == len(left):
    return f'; the time of the other {unknown} is not known (key "minutes")'
  also = f', and {unknown} cells of unknown length' if unknown else ''
  return f'; about {about(sum(left))} left{also}'
