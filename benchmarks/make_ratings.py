"""Synthetic ratings of any size, skewed like MovieLens, as a MovieLens CSV folder.

    python -m benchmarks.make_ratings --rows=20000000 --output_dir=/tmp/ratings-20m

History lengths are log-normal (ml-25m: median 71, mean 154, longest 32,202), items
Zipf-distributed, tastes differ by user and genre, and no user rates an item twice. Rows
stand in the order of ml-25m (user, then item), or in no order with --shuffled. The same
flags write the same bytes.
"""

import argparse
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

GENRES = [
  'Action',
  'Adventure',
  'Animation',
  'Children',
  'Comedy',
  'Crime',
  'Documentary',
  'Drama',
  'Fantasy',
  'Film-Noir',
  'Horror',
  'IMAX',
  'Musical',
  'Mystery',
  'Romance',
  'Sci-Fi',
  'Thriller',
  'War',
  'Western',
]
_MEDIAN, _SIGMA, _SHORTEST = 71, 1.24, 20
_YEAR_2000, _YEAR_2020 = 946_684_800, 1_577_836_800
_USERS_AT_A_TIME = 20_000


def main() -> None:
  """Reads the flags and writes the folder."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--rows', type=int, required=True)
  parser.add_argument('--output_dir', type=pathlib.Path, required=True)
  parser.add_argument('--items', type=int, default=60_000)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--shuffled', action='store_true')
  write(**vars(parser.parse_args()))


def write(
  output_dir: pathlib.Path, rows: int, items: int, seed: int, shuffled: bool
) -> None:
  """Writes ratings.csv with exactly `rows` ratings, and movies.csv."""
  output_dir.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  member = rng.random((items, len(GENRES))) < rng.dirichlet(np.ones(len(GENRES))) * 2.3
  member[np.arange(items), rng.integers(0, len(GENRES), items)] = True
  ids = np.cumsum(rng.integers(1, 6, items))
  lines = [
    f'{ids[item]},Film {item} ({1920 + item % 100}),'
    + '|'.join(np.compress(member[item], GENRES))
    for item in range(items)
  ]
  text = '\n'.join(['movieId,title,genres', *lines]) + '\n'
  (output_dir / 'movies.csv').write_text(text)
  weight = 1 / np.arange(10, items + 10) ** 1.1
  drawn_from = np.cumsum(weight / weight.sum()), rng.permutation(items)
  tables, written, first = [], 0, 1
  schema = _table(*np.zeros((3, 0), int), np.zeros(0)).schema
  plain = pa_csv.WriteOptions(quoting_style='none', include_header=False)
  with (
    open(output_dir / 'ratings.csv', 'wb') as raw,
    pa_csv.CSVWriter(raw, schema, write_options=plain) as file,
  ):
    raw.write(b'userId,movieId,rating,timestamp\n')
    while written < rows:
      user, item, time = _draw(rng, first, drawn_from)
      user, item, time = (column[: rows - written] for column in (user, item, time))
      stars = _stars(rng, user - first, item, member)
      table = _table(user, ids[item], time, stars)
      written, first = written + len(user), first + _USERS_AT_A_TIME
      if shuffled:
        tables.append(table)
      else:
        file.write_table(table)
    if shuffled:
      table = pa.concat_tables(tables)
      file.write_table(table.take(pa.array(rng.permutation(rows))))


def _draw(rng, first, drawn_from):
  """The ratings of some users, without stars: user, item and time, in order."""
  share, items = drawn_from
  size = rng.lognormal(np.log(_MEDIAN), _SIGMA, _USERS_AT_A_TIME) * 1.15
  size = np.clip(size.astype(int), _SHORTEST, len(items) // 2)
  user = np.repeat(np.arange(_USERS_AT_A_TIME), size)
  item = items[
    np.minimum(np.searchsorted(share, rng.random(len(user))), len(items) - 1)
  ]
  key = np.unique(user * len(items) + item)
  user, item = key // len(items), key % len(items)
  joined = rng.integers(_YEAR_2000, _YEAR_2020, _USERS_AT_A_TIME)
  time = joined[user] + rng.exponential(86_400 * 60, len(user)).astype(int)
  return user + first, item, time


def _stars(rng, user, item, member):
  taste = rng.normal(0, 0.7, (_USERS_AT_A_TIME, len(GENRES))).astype(np.float32)
  genres = member[item]
  liking = np.einsum('ng,ng->n', taste[user], genres) / genres.sum(1)
  stars = 3.5 + liking + rng.normal(0, 0.8, len(user))
  return np.clip(np.round(2 * stars) / 2, 0.5, 5)


def _table(user, item, time, stars):
  halves = pa.array([f'{half / 2:.1f}' for half in range(11)])
  rating = halves.take(pa.array((2 * stars).astype(np.int8)))
  columns = {'userId': user, 'movieId': item, 'rating': rating, 'timestamp': time}
  return pa.table(columns)


if __name__ == '__main__':
  main()
