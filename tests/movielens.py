"""Generated MovieLens CSV folders."""

import pathlib

import numpy as np

GENRES = ('Action', 'Comedy', 'Drama', 'Horror', 'Sci-Fi', 'War')


def write(
  folder: pathlib.Path, users: int = 40, movies: int = 60, seed: int = 0
) -> pathlib.Path:
  """Writes ratings.csv and movies.csv: every user has tastes, no two ratings repeat."""
  rng = np.random.default_rng(seed)
  genres = [
    rng.choice(GENRES, rng.integers(1, 4), replace=False) for _ in range(movies)
  ]
  lines = ['movieId,title,genres']
  for movie in range(movies):
    title = f'Film {movie}' if movie % 5 else f'"Film, The {movie}"'
    quoted = title.strip('"')
    title = (
      f'"{quoted} ({1950 + movie})"' if ',' in title else f'{title} ({1950 + movie})'
    )
    lines.append(f'{movie * 3 + 1},{title},{"|".join(genres[movie])}')
  (folder / 'movies.csv').write_text('\r\n'.join(lines) + '\r\n')
  lines = ['userId,movieId,rating,timestamp']
  for user in range(1, users + 1):
    taste = dict(zip(GENRES, rng.normal(0, 1.2, len(GENRES)), strict=True))
    for movie in rng.permutation(movies)[: rng.integers(5, 45)]:
      mean = 3.2 + np.mean([taste[name] for name in genres[movie]])
      stars = np.clip(np.round(2 * rng.normal(mean, 0.5)) / 2, 0.5, 5)
      time = 1_000_000_000 + rng.integers(0, 1000)
      lines.append(f'{user},{movie * 3 + 1},{stars:.1f},{time}')
  (folder / 'ratings.csv').write_text('\r\n'.join(lines) + '\r\n')
  return folder
