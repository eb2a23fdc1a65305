"""Figures on the pages are those of the results."""

import json
import re

import pytest

from benchmarks import tables


@pytest.mark.parametrize('page', tables.PAGES)
def test_pages_have_the_results(page):
  text = (tables.ROOT / page).read_text()
  assert '<!-- table: ' in text
  assert tables.filled(text) == text, 'run `make tables`'


def test_a_page_with_other_figures_is_written_anew():
  text = (tables.ROOT / 'README.md').read_text()
  changed = re.sub(
    r'(<!-- table: scores -->.*?)0\.\d', r'\g<1>9.9', text, flags=re.DOTALL
  )
  assert changed != text
  assert tables.filled(changed) == text
  with pytest.raises(KeyError, match='no-such'):
    tables.filled('<!-- table: no-such -->\n<!-- end -->')


def test_means_are_those_of_the_cells():
  """The table's means against the cells that they are of, computed here."""
  file = tables.ROOT / 'benchmarks' / 'results' / 'quality_ml-100k.json'
  cells = json.loads(file.read_text())['cells']
  values = [
    cell['f1']['model']
    for cell in cells
    if (cell['method'], cell['N']) == ('perceiver', 50)
  ]
  expected = f'| {sum(values) / len(values):.3f} ({len(values)}) |'
  line = next(x for x in tables.scores().splitlines() if x.startswith('| perceiver, f'))
  assert expected in line
