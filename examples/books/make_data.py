"""Generates ratings of books in the form of a shop's export.

    python -m examples.books.make_data --output_dir=runs/books/data [--readers=600]

Writes `ratings.csv` (customer, isbn, stars, bought_at in milliseconds), `books.csv`
(isbn, title, author, published, subjects, blurb), `asked.csv` (customer, isbn,
asked_at, occasion, liked): what readers were asked a minute before they bought a book,
and `shelves.csv` (customer, asked_at, shelf): what they call their shelf, in free words
that follow from the subjects they like most. The same seed gives the same bytes. Four
ratings are wrong on purpose, as in real exports, and three of the questions.
"""

import argparse
import csv
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

SUBJECTS = (
  *('Biography', 'Cooking', 'Crime', 'Fantasy', 'History', 'Poetry', 'Romance'),
  'Science Fiction',
)
_FIRST = ('Silent', 'Last', 'Hidden', 'Northern', 'Broken', 'Golden', 'Other', 'Long')
_SECOND = ('River', 'Garden', 'Winter', 'Letter', 'Island', 'Crown', 'Recipe', 'Train')
_AUTHORS = ('A. Berg', 'C. Duval', 'E. Okafor', 'M. Sato', 'R. Lindqvist')
_BAD_RATINGS = (
  ('reader-0001', '', 4, 1_500_000_000_000),
  ('reader-0001', 'isbn-9999', 4, 1_500_000_000_000),
  ('reader-0002', 'isbn-0001', 'great', 1_500_000_000_000),
  ('reader-0003', 'isbn-0001', 9, 1_500_000_000_000),
)


# Of each subject, ways to say that a shelf is about it: as its first and its last word.
_SHELF_WORDS = {
  'Biography': (('famous', 'remarkable'), ('lives', 'people')),
  'Cooking': (('tasty', 'delicious'), ('kitchens', 'meals')),
  'Crime': (('deadly', 'suspicious'), ('murders', 'detectives')),
  'Fantasy': (('magical', 'enchanted'), ('dragons', 'wizards')),
  'History': (('ancient', 'historic'), ('empires', 'wars')),
  'Poetry': (('lyrical', 'poetic'), ('verses', 'poems')),
  'Romance': (('romantic', 'tender'), ('hearts', 'lovers')),
  'Science Fiction': (('futuristic', 'robotic'), ('planets', 'spaceships')),
}
_OCCASIONS = ('for a journey', 'as a present', 'for the evening')
_BAD_QUESTIONS = (
  ('reader-0001', 'isbn-9999', 1_600_000_000_000, 'for a journey', 1),
  ('reader-0002', 'isbn-0001', 'soon', 'for a journey', 1),
  ('reader-0003', 'isbn-0001', 1_600_000_000_000, 'for a journey', 'perhaps'),
)


def books(rng: np.random.Generator, count: int) -> list[dict[str, str]]:
  """Rows of books.csv; semicolons separate the subjects of a book."""
  rows = []
  for number in range(count):
    author, year = rng.choice(_AUTHORS), int(rng.integers(1950, 2024))
    subjects = rng.choice(SUBJECTS, rng.integers(1, 3), replace=False)
    rows.append(
      {
        'isbn': f'isbn-{number:04}',
        'title': f'The {rng.choice(_FIRST)} {rng.choice(_SECOND)}',
        'author': author,
        'published': str(year),
        'subjects': ';'.join(sorted(subjects)),
        'blurb': f'{author} wrote it in {year}.',
      }
    )
  return rows


def ratings(rng: np.random.Generator, found: list[dict], readers: int) -> Iterable:
  """Rows of ratings.csv; each reader has fixed tastes and rates a book at most once."""
  subjects = [book['subjects'].split(';') for book in found]
  for reader in range(readers):
    likings = dict(zip(SUBJECTS, rng.normal(0, 1.3, len(SUBJECTS)), strict=True))
    when = 1_500_000_000_000 + int(rng.integers(10**11))
    for book in rng.permutation(len(found))[: rng.integers(10, 50)]:
      mean = 3.2 + np.mean([likings[name] for name in subjects[book]])
      stars = int(np.clip(np.round(rng.normal(mean, 0.6)), 1, 5))
      when += int(rng.integers(10**8))
      yield f'reader-{reader:04}', found[book]['isbn'], stars, when


def questions(rng: np.random.Generator, rated: Sequence[tuple]) -> Iterable:
  """Rows of asked.csv: each reader is asked about three books or so of the last ten.

  One of eight is not answered yet.
  """
  last = {}
  for row in rated:
    last.setdefault(row[0], []).append(row)
  for reader, rows in last.items():
    for _, isbn, stars, when in rows[-10:]:
      if rng.random() < 0.3:
        liked = int(stars >= 4) if rng.random() < 0.875 else ''
        yield reader, isbn, when - 60_000, rng.choice(_OCCASIONS), liked


def shelves(
  rng: np.random.Generator, found: Sequence[dict], rated: Sequence[tuple]
) -> Iterable:
  """Rows of shelves.csv: a name made of the two subjects with the best mean stars.

  A subject counts with three ratings or more; one of ten names is not known.
  """
  subjects = {book['isbn']: book['subjects'].split(';') for book in found}
  stars: dict[str, dict[str, list[int]]] = {}
  last = {}
  for reader, isbn, own, when in rated:
    of_reader, last[reader] = stars.setdefault(reader, {}), when
    for name in subjects[isbn]:
      of_reader.setdefault(name, []).append(own)
  for reader, by_subject in stars.items():
    means = {x: np.mean(y) for x, y in sorted(by_subject.items()) if len(y) > 2}
    best = sorted(means, key=means.get, reverse=True)[:2]
    if len(best) == 2:
      first, second = (rng.choice(_SHELF_WORDS[x][at]) for at, x in enumerate(best))
      name = f'{first} {second}' if rng.random() < 0.9 else ''
      yield reader, last[reader] + 60_000, name


def write(folder: pathlib.Path, readers: int, count: int, seed: int) -> None:
  """Writes the four files."""
  rng = np.random.default_rng(seed)
  folder.mkdir(parents=True, exist_ok=True)
  found = books(rng, count)
  with open(folder / 'books.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, found[0].keys())
    writer.writeheader()
    writer.writerows(found)
  with open(folder / 'ratings.csv', 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(('customer', 'isbn', 'stars', 'bought_at'))
    rated = [*ratings(rng, found, readers)]
    writer.writerows([*rated, *_BAD_RATINGS])
  with open(folder / 'asked.csv', 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(('customer', 'isbn', 'asked_at', 'occasion', 'liked'))
    asked = questions(np.random.default_rng([seed, 1]), rated)
    writer.writerows([*asked, *_BAD_QUESTIONS])
  with open(folder / 'shelves.csv', 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(('customer', 'asked_at', 'shelf'))
    writer.writerows(shelves(np.random.default_rng([seed, 2]), found, rated))


def main(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and writes the files."""
  parser = argparse.ArgumentParser(
    prog='python -m examples.books.make_data', description=__doc__.split('\n')[0]
  )
  parser.add_argument('--output_dir', type=pathlib.Path, required=True)
  parser.add_argument('--readers', type=int, default=600)
  parser.add_argument('--books', type=int, default=200)
  parser.add_argument('--seed', type=int, default=0)
  flags = parser.parse_args(argv)
  write(flags.output_dir, flags.readers, flags.books, flags.seed)


if __name__ == '__main__':
  main()
