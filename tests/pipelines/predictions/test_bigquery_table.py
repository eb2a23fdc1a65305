"""Names of tables."""

import pytest

from pipelines.predictions.bigquery_table import table_reference


@pytest.mark.parametrize(
  ('text', 'parts'),
  [
    ('my-project:data_1.table', ('my-project', 'data_1', 'table')),
    ('my-project.data_1.table', ('my-project', 'data_1', 'table')),
    ('p1:d.t-1 ü', ('p1', 'd', 't-1 ü')),
    ('example.com:p:d.t', ('example.com:p', 'd', 't')),
    ('example.com:p.d.t', ('example.com:p', 'd', 't')),
  ],
)
def test_good_names(text, parts):
  table = table_reference(text)
  assert (table.project, table.dataset_id, table.table_id) == parts


@pytest.mark.parametrize(
  'text',
  [
    '',
    't',
    'd.t',
    'p:d',
    'p:d:t',
    'p:d.t.u',
    'p:d-1.t',
    'P:d.t',
    '1p:d.t',
    'p:d.t$20260301',
    'p:d.t`; DROP TABLE x; --',
    'p:d.',
    ' p:d.t',
    'p:d.t\n',
  ],
)
def test_bad_names(text):
  with pytest.raises(ValueError, match='expected project:dataset'):
    table_reference(text)
