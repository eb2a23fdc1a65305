"""What the flags of build_histories decide: samplers, labels, limits, statistics."""

import json
import pathlib

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.common.job import JobError
from pipelines.histories.samplers import SAMPLERS
from tests import tiny as tiny_parts
from tests.histories import build, contents, histories, pandas_labels, rejects

CUTS = {'time': '2001-09-09T01:55:00', 'fraction': '0.6'}  # times are 1e9 .. 1e9 + 1000


def cut_by_hand(ratings: pd.DataFrame, cut: str) -> tuple[pd.Series, pd.Series]:
  """Which rows of a ratings file are history and which are label."""
  if cut == 'time':
    return ratings.timestamp < 1_000_000_500, ratings.timestamp > 1_000_000_500
  time = ratings.groupby('userId').timestamp
  before = (time.transform('size') * 0.6 + 1e-9).astype(int)
  older = time.rank('max')  # ratings of the user that are not newer
  younger = time.rank('max', ascending=False)
  size = time.transform('size')
  return older <= before, younger <= size - before


def write(folder: pathlib.Path, tiny: pathlib.Path, ratings: pd.DataFrame):
  """A MovieLens folder with other ratings."""
  folder.mkdir()
  (folder / 'movies.csv').write_bytes((tiny / 'movies.csv').read_bytes())
  ratings.to_csv(folder / 'ratings.csv', index=False)
  return folder


def sampler_flags(name: str, embeddings: pathlib.Path) -> list[str]:
  flags = [f'--sampler={name}', '--max_history=4', '--num_shards=3']
  needed = f'--embeddings_dir={embeddings}'
  return [*flags, needed] if SAMPLERS[name].needs == 'vectors' else flags


@pytest.fixture(scope='module')
def embeddings(tiny, tmp_path_factory) -> pathlib.Path:
  """Vectors of the tiny set's items."""
  folder = tmp_path_factory.mktemp('embeddings')
  build(tiny, folder / 'histories')
  return tiny_parts.write_embeddings(folder / 'histories', folder / 'embeddings')


@pytest.mark.parametrize(
  ('sampler', 'cut'),
  [(name, 'time') for name in SAMPLERS] + [('long_tail', 'fraction')],
)
def test_nothing_behind_the_cut_reaches_a_history(
  tiny, tmp_path, embeddings, sampler, cut
):
  """Other items and ratings behind the cut change labels, and no bit of a history."""
  ratings = pd.read_csv(tiny / 'ratings.csv')
  before, _ = cut_by_hand(ratings, cut)
  other = ratings.copy()
  other.loc[~before, 'rating'] = 5.5 - other.rating[~before]
  # Of the same user, so that no item is rated twice.
  rotate = lambda items: np.roll(items.to_numpy(), 1)
  other.loc[~before, 'movieId'] = (
    ratings[~before].groupby('userId').movieId.transform(rotate)
  )
  flags = sampler_flags(sampler, embeddings)
  flags += ['--label_mode=future', f'--label_cutoff={CUTS[cut]}']
  build(tiny, tmp_path / 'a', *flags)
  build(write(tmp_path / 'other', tiny, other), tmp_path / 'b', *flags)
  first, second = histories(tmp_path / 'a'), histories(tmp_path / 'b')
  assert first.keys() == second.keys() != set()
  changed = 0
  for user, history in first.items():
    for field, value in history.items():
      if field in ('liked', 'disliked'):
        changed += value != second[user][field]
      else:
        np.testing.assert_array_equal(value, second[user][field])
  assert changed > 5


@pytest.mark.parametrize('cut', CUTS)
def test_future_labels_equal_pandas(tiny, tmp_path, cut):
  flags = ['--label_mode=future', f'--label_cutoff={CUTS[cut]}', '--min_history=3']
  counts = build(tiny, tmp_path / 'h', *flags)['counts']
  ratings = pd.read_csv(tiny / 'ratings.csv')
  before, after = cut_by_hand(ratings, cut)
  history = ratings[before]
  long_enough = history.groupby('userId').size()
  long_enough = set(long_enough[long_enough >= 3].index)
  made = histories(tmp_path / 'h')
  assert made.keys() == set(map(str, long_enough))
  labels = pandas_labels(ratings[after], pd.read_csv(tiny / 'movies.csv'))
  for user in long_enough:
    mine, found = history[history.userId == user], made[str(user)]
    assert found['history_total'] == len(mine)
    assert sorted(found['history_timestamps']) == sorted(mine.timestamp)
    for side in ('liked', 'disliked'):
      expected = labels[side].get(user)
      assert found[side] == (expected if isinstance(expected, list) else []), user
  kept = ratings.userId.isin(long_enough)
  assert counts['rows_kept'] == ((before | after) & kept).sum()
  assert counts['rows_dropped']['at_label_cutoff'] == (~(before | after)).sum()
  assert counts['rows_in'] == counts['rows_kept'] + sum(counts['rows_dropped'].values())


def test_popularity_counts_training_histories_only(tiny, tmp_path):
  flags = ['--label_mode=future', f'--label_cutoff={CUTS["time"]}', '--max_history=4']
  build(tiny, tmp_path / 'h', *flags, '--sampler=popularity', '--num_shards=3')
  ratings = pd.read_csv(tiny / 'ratings.csv')
  before, _ = cut_by_hand(ratings, 'time')
  items = pq.read_table(tmp_path / 'h' / 'items.parquet').to_pandas()
  made = histories(tmp_path / 'h')
  split = {int(user): history['split'] for user, history in made.items()}
  past = ratings[before].assign(split=ratings.userId.map(split))
  counts = past[past.split == 'train'].movieId.value_counts()
  row_of = dict(zip(items.item_id.astype(int), items.item_index, strict=True))
  past = past.assign(
    count=past.movieId.map(counts).fillna(0), row=past.movieId.map(row_of)
  )
  for user, rows in past.groupby('userId'):
    best = rows.sort_values(
      ['count', 'timestamp', 'row'], ascending=[False, False, True]
    )[:4]
    assert set(made[str(user)]['history_items']) == set(best.row), user


@pytest.mark.parametrize('sampler', SAMPLERS)
def test_same_bytes_on_every_run(tiny, tmp_path, embeddings, sampler):
  flags = sampler_flags(sampler, embeddings)
  threads = ['--direct_num_workers=2', '--direct_running_mode=multi_threading']
  build(tiny, tmp_path / 'a', *flags)
  build(tiny, tmp_path / 'b', *flags, '--block_bytes=500', *threads)
  assert contents(tmp_path / 'a') == contents(tmp_path / 'b')
  made = histories(tmp_path / 'a').values()
  total = [history['history_total'] for history in made]
  assert [len(history['history_items']) for history in made] == np.minimum(
    total, 4
  ).tolist()


def test_embeddings_of_other_items(tiny, tmp_path, embeddings):
  data = write(tmp_path / 'data', tiny, pd.read_csv(tiny / 'ratings.csv'))
  with open(data / 'movies.csv', 'a') as file:
    file.write('999,New (2000),War\r\n')
  with pytest.raises(JobError, match='made from other items'):
    build(data, tmp_path / 'h', *sampler_flags('diverse', embeddings))


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--sampler=diverse'], 'needs embeddings_dir'),
    (['--query=war'], 'sampler=recency does not use query'),
    (['--label_mode=future'], 'label_cutoff, or neither'),
    (['--label_cutoff=0.5'], 'label_cutoff, or neither'),
    (['--label_mode=future', '--label_cutoff=soon'], 'label_cutoff'),
    (['--max_reject_fraction=2'], 'max_reject_fraction'),
  ],
)
def test_flags_that_do_not_fit(tiny, tmp_path, capsys, flags, message):
  with pytest.raises(SystemExit) as raised:
    build(tiny, tmp_path / 'h', *flags)
  assert raised.value.code == 2
  assert message in capsys.readouterr().err


def test_too_many_rejects_stop_the_job(tiny, tmp_path):
  ratings = pd.read_csv(tiny / 'ratings.csv', dtype=str)
  ratings.loc[:9, 'rating'] = 'many'
  ratings.loc[10:12, 'userId'] = ''
  data, share = write(tmp_path / 'data', tiny, ratings), 13 / len(ratings)
  build(data, tmp_path / 'h', f'--max_reject_fraction={share}')
  with pytest.raises(
    JobError,
    match=r"13 of 1,005 rows .*not_a_number 10 \(rating 'many', first in line 2 of .*, "
    r"empty_field 3 \(userId '', first in line 12 of ",
  ):
    build(data, tmp_path / 'cut', f'--max_reject_fraction={share * 0.99}')
  assert len(rejects(tmp_path / 'cut')) == 13
  assert not list((tmp_path / 'cut').glob('*.tfrecord*'))
  assert not (tmp_path / 'cut' / 'COMPLETED').exists()
  build(data, tmp_path / 'cut', f'--max_reject_fraction={share}')  # begun again
  assert (tmp_path / 'cut' / 'COMPLETED').exists()


def test_statistics(tiny, tmp_path):
  statistics = build(tiny, tmp_path / 'h', '--max_history=8', '--num_shards=3')[
    'statistics'
  ]
  ratings = pd.read_csv(tiny / 'ratings.csv')
  labels = pandas_labels(ratings, pd.read_csv(tiny / 'movies.csv'))
  length = ratings.groupby('userId').size()
  assert statistics['users'] == len(length)
  assert statistics['ratings'] == len(ratings)
  assert statistics['items'] == ratings.movieId.nunique()
  assert statistics['history_length']['median'] == length.quantile(
    0.5, interpolation='lower'
  )
  assert statistics['sampled_length']['mean'] == pytest.approx(
    length.clip(upper=8).mean()
  )
  assert statistics['users_with_label'] == len(labels) / len(length)
  for side, name in (('liked', 'users_who_like'), ('disliked', 'users_who_dislike')):
    found = {genre: n for genre, n in statistics[name].items() if n}
    assert found == labels[side].explode().dropna().value_counts().to_dict()


def test_the_bound_is_what_evaluate_says(tiny, tmp_path):
  from pipelines.report.run_results import read_split
  from tasks import baselines, metrics
  from tasks.labels import LabelRule

  info = build(tiny, tmp_path / 'h', '--max_history=8')
  for split, scores in info['statistics']['rule_on_sample'].items():
    users = read_split(str(tmp_path / 'h'), split, info['genres'])
    answers = baselines.rule_on_sample(users.samples, len(info['genres']), LabelRule())
    assert scores == pytest.approx(metrics.weighted_scores(users.truth, answers))
  assert json.loads((tmp_path / 'h' / 'dataset_info.json').read_text()) == info
