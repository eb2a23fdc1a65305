"""The share of rejects that stops a job."""

import pytest

from pipelines.common.job import JobError
from pipelines.events import input_files
from pipelines.events.known_formats import KNOWN
from pipelines.events.reject_share import check_item_shares
from pipelines.items import catalogue


@pytest.mark.parametrize(('more', 'rejected'), [('\n', 0), ('\n \n2,B,War\n', 1)])
def test_blank_lines_do_not_count(tmp_path, more, rejected):
  path = tmp_path / 'movies.csv'
  path.write_text(f'movieId,title,genres\n1,A,War\n2,B,Drama\n{more}')
  files = input_files.find_files(str(path), KNOWN['movies'], 'movies')
  items = catalogue.read_items(files)
  rows_in, share = {'movies': items.num_lines}, rejected / 3
  assert 'blank_line' in [reject['reason'] for reject in items.rejects]  # and is told
  check_item_shares(items.rejects, rows_in, share)
  if rejected:
    message = r'1 of 3 rows of --movies are rejects, .*0\.3: duplicate_item 1 '
    with pytest.raises(JobError, match=message) as raised:
      check_item_shares(items.rejects, rows_in, 0.3)
    assert 'blank_line 2' not in str(raised.value)
