"""Users of a run as examples: their history, their label, their answer."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.report import run_numbers
from pipelines.report.run_results import RunResults

_SHOWN_EXAMPLES = 4  # of right and of wrong answers
_SHOWN_ITEMS = 10


class Example(NamedTuple):
  """Holds a user as the page's card shows them.

  Attributes:
    user_id: name of the user.
    ratings: number of ratings before sampling.
    shown: number of ratings that the model was shown.
    parse_ok: whether the answer could be parsed.
    sides: (title, [(genre, mark)]) of each list of genres in the label and in the
      answer; a mark is 'right', 'wrong' or 'missed'.
    text: the answer as the model wrote it.
    log_prob: log probability of the text, in nats.
    newest: (title, stars) of the newest ratings.
  """

  user_id: str
  ratings: int
  shown: int
  parse_ok: bool
  sides: Sequence[tuple[str, Sequence[tuple[str, str]]]]
  text: str
  log_prob: float
  newest: Sequence[tuple[str, str]]


def choose_examples(results: RunResults) -> list[tuple[str, int, list[Example]]]:
  """Returns (title, number of users, some of them, drawn by seed), right then wrong."""
  parsed = np.array([row['parse_ok'] for row in results.rows], bool)
  equal = (results.users.truth == results.answers['persoma']).all(axis=1)
  groups = []
  for title, among in (('Right', parsed & equal), ('Wrong', ~(parsed & equal))):
    chosen = run_numbers.sample_positions(among, _SHOWN_EXAMPLES, results.run['seed'])
    examples = [_to_example(results, at) for at in chosen]
    groups.append((title, int(among.sum()), examples))
  return groups


def _to_example(results, at):
  row, users = results.rows[at], results.users
  items, stars = users.items[at][:_SHOWN_ITEMS], users.samples[at][1][:_SHOWN_ITEMS]
  return Example(
    user_id=row['user_id'],
    ratings=int(users.totals[at]),
    shown=row['history_length'],
    parse_ok=row['parse_ok'],
    sides=_mark_genres(
      results.info['genres'], users.truth[at], results.answers['persoma'][at]
    ),
    text=row['text'],
    log_prob=row['log_prob'],
    newest=[
      (results.titles[item], f'{rating:g}')
      for item, rating in zip(items.tolist(), stars.tolist(), strict=True)
    ],
  )


def _mark_genres(genres, truth, answer):
  """Returns `Example.sides` of a label and an answer, both [2G] bool."""
  classes = [(side, name) for side in ('liked', 'disliked') for name in genres]
  marks = {'label': 'missed', 'answer': 'wrong'}
  sides = {(kind, side): [] for kind in marks for side in ('liked', 'disliked')}
  for kind, own in (('label', truth), ('answer', answer)):
    for at in np.flatnonzero(own).tolist():
      side, name = classes[at]
      mark = 'right' if truth[at] and answer[at] else marks[kind]
      sides[kind, side].append((name, mark))
  return [(f'{kind}, {side}', listed) for (kind, side), listed in sides.items()]
