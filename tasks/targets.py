"""What is asked of a history, as the arrays of an example."""

from typing import NamedTuple

import numpy as np

from tasks import item_vectors
from tasks.histories import Genres, sub_history
from tasks.labels import LabelRule, label
from tasks.questions import Question
from tasks.text_history import HistoryLimits, Interactions
from tasks.vocabularies import VOCABULARY


class ExampleSource(NamedTuple):
  """What an example is made from, asked of gin once and not for every example."""

  question: Question
  genres: Genres
  rule: LabelRule
  limits: HistoryLimits
  vectors: item_vectors.ItemVectors | None = None
  text: Interactions | None = None


class Target(NamedTuple):
  """A history, or a part of it, with what is asked of it."""

  items: np.ndarray
  ratings: np.ndarray
  tokens: np.ndarray
  slots: np.ndarray
  statistics: np.ndarray


def answer_slots(
  liked: list[int], disliked: list[int], num_genres: int, most: int
) -> np.ndarray:
  """The class that each place of an answer holds, as indices of its template's words.

  Args:
    liked: genre columns, best first.
    disliked: genre columns, worst first.
    num_genres: G.
    most: places on each side.

  Returns:
    [2 * most] int32; places without a genre hold 2G, the word 'none'.
  """
  slots = np.full(2 * most, 2 * num_genres, np.int32)
  slots[: len(liked)] = liked
  slots[most : most + len(disliked)] = disliked
  slots[most : most + len(disliked)] += num_genres
  return slots


def history_statistics(member: np.ndarray, ratings: np.ndarray) -> np.ndarray:
  """What a history says of each genre, as regression targets.

  Args:
    member: [n, G] bool genres of the items.
    ratings: [n] float32 stars.

  Returns:
    [2G] float32: mean rating (stars, less 3) or nan where there is none, then
    log(1 + count).
  """
  count = member.sum(0)
  mean = (ratings @ member) / np.where(count, count, np.nan) - 3
  return np.concatenate([mean, np.log1p(count)]).astype(np.float32)


def make_target(shown: ExampleSource, items, ratings, liked, disliked, *seed) -> Target:
  """One history as the arrays of an example; with a seed, one part of it.

  Args:
    shown: what examples are made from.
    items: [n] int64 row numbers of the item table, newest first.
    ratings: [n] float32 stars.
    liked: names in bytes, best first; those of the full history.
    disliked: the same, worst first.
    *seed: [2] int32, of the part; its label is that of the rule.
  """
  genres, question = shown.genres, shown.question
  if seed:
    rng = np.random.default_rng(seed[0].view(np.uint32))
    rows = sub_history(len(items), shown.limits.items, rng)
    items, ratings = items[rows], ratings[rows]
    liked, disliked = label(genres.of_items[items], ratings, shown.rule)
  else:
    liked, disliked = (
      [genres.names.index(name.decode()) for name in side] for side in (liked, disliked)
    )
  text = question.answer(*([genres.names[i] for i in x] for x in (liked, disliked)))
  return Target(
    items,
    ratings,
    np.array(VOCABULARY.encode(text), np.int32),
    answer_slots(liked, disliked, len(genres.names), question.most),
    history_statistics(genres.of_items[items], ratings),
  )
