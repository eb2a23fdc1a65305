"""The page above the reports of several questions: the scores of each, and links."""

from collections.abc import Sequence

from pipelines.common import storage
from pipelines.report.templates import fill_template


def write_questions_page(folder: str, names: Sequence[str]) -> None:
  """Writes `report.html` beside the folders of finished reports.

  Args:
    folder: folder of the reports.
    names: names of the questions, of which each has its report in a folder there.
  """
  scores = {
    name: storage.read_file(f'{folder}/{name}/scores.txt').decode() for name in names
  }
  page = fill_template('questions_page.html', scores=scores)
  storage.write_file(f'{folder}/report.html', page.encode())
