"""Lists the known formats of input files.

Another format is one more row in the table here. Your own data needs no code, only a
`--mapping` (`pipelines.events.mapping`) or a dataset file.
"""

from pipelines.events.formats import REQUIRED, Format
from pipelines.events.text_encodings import UTF8_OR_LATIN1

_ML_100K_GENRES = (
  'unknown', 'Action', 'Adventure', 'Animation', "Children's", 'Comedy', 'Crime',
  'Documentary', 'Drama', 'Fantasy', 'Film-Noir', 'Horror', 'Musical', 'Mystery',
  'Romance', 'Sci-Fi', 'Thriller', 'War', 'Western',
)  # fmt: skip


def _own_names(fields):
  return {field: field for field in fields}


def _headerless(name, kind, header, delimiter, first_line, **others):
  names = _own_names(header)
  return Format(
    name, kind, names, delimiter, False, header=header, first_line=first_line, **others
  )


_NUMBER = r'\d+(?:\.\d+)?'
_ALL = (
  # latest, latest-small, 20M, 25M, 32M
  Format(
    'MovieLens',
    'ratings',
    {
      'user': 'userId',
      'item': 'movieId',
      'rating': 'rating',
      'timestamp': 'timestamp',
    },
  ),
  Format(
    'MovieLens', 'movies', {'item': 'movieId', 'title': 'title', 'genres': 'genres'}
  ),
  Format('MovieLens', 'tags', {'user': 'userId', 'item': 'movieId', 'tag': 'tag'}),
  Format(
    'MovieLens', 'descriptions', {'item': 'movieId', 'description': 'description'}
  ),
  Format('TMDB', 'descriptions', {'item': 'movieId', 'description': 'overview'}),
  _headerless(  # 10M has half stars
    'MovieLens-1M',
    'ratings',
    REQUIRED['ratings'],
    '::',
    rf'[^:]+::[^:]+::{_NUMBER}::{_NUMBER}$',
  ),
  _headerless(
    'MovieLens-1M',
    'movies',
    REQUIRED['movies'],
    '::',
    r'\d+::.*::[^:]*$',
    encoding=UTF8_OR_LATIN1,
  ),
  _headerless(
    'MovieLens-10M',
    'tags',
    (*REQUIRED['tags'], 'timestamp'),
    '::',
    rf'[^:]+::[^:]+::.*::{_NUMBER}$',
    encoding=UTF8_OR_LATIN1,
  ),
  _headerless(
    'MovieLens-100K',
    'ratings',
    REQUIRED['ratings'],
    '\t',
    rf'\d+\t\d+\t{_NUMBER}\t{_NUMBER}$',
  ),
  _headerless(
    'MovieLens-100K',
    'movies',
    ('item', 'title', 'released', 'video', 'url', *_ML_100K_GENRES),
    '|',
    r'\d+\|.*(\|[01]){19}$',
    encoding=UTF8_OR_LATIN1,
    genre_flags=_ML_100K_GENRES,
  ),
  Format(
    'RecBole',
    'ratings',
    {
      'user': 'user_id:token',
      'item': 'item_id:token',
      'rating': 'rating:float',
      'timestamp': 'timestamp:float',
    },
    delimiter='\t',
    quoted=False,
  ),
  Format(
    'RecBole',
    'movies',
    {
      'item': 'item_id:token',
      'title': 'movie_title:token_seq',
      'year': 'release_year:token',
      'genres': 'class:token_seq',
    },
    delimiter='\t',
    quoted=False,
    genre_separator=' ',
    other_names={
      'title': ('movie_title:token', 'movie_name:token_seq', 'movie_name:token'),
      'year': ('release_year:float', 'year:token', 'year:float'),
      'genres': ('genre:token_seq', 'genres:token_seq', 'type:token_seq'),
    },
  ),
  Format('PERSOMA', 'ratings', _own_names(REQUIRED['ratings'])),
  Format('PERSOMA', 'movies', _own_names((*REQUIRED['movies'], 'year', 'description'))),
  Format('PERSOMA', 'tags', _own_names(REQUIRED['tags'])),
  Format('PERSOMA', 'descriptions', _own_names(REQUIRED['descriptions'])),
)
# kind of file -> formats that a file of this kind may have
KNOWN: dict[str, tuple[Format, ...]] = {
  kind: tuple(known for known in _ALL if known.kind == kind)
  for kind in dict.fromkeys(known.kind for known in _ALL)
}
