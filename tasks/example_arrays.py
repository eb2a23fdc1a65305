"""Makes the target arrays of an example from a history."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import seqio

from tasks import item_vectors
from tasks.histories import Genres
from tasks.history_columns import HistoryColumns
from tasks.labels import LabelRule, label
from tasks.questions import Question
from tasks.text_history import HistoryLimits, Interactions

_STARS = 0.5, 5.0  # the scale on which means are trained


class ExampleSource(NamedTuple):
  """Holds everything that examples are made from, read from gin only once.

  Attributes:
    question: question of the recipe.
    genres: names of the genres, and the genres of all items.
    rule: rule of the labels.
    of_future: whether labels come from later interactions than the histories.
    limits: maximum size of a history.
    scale: lowest and highest rating of the data set's scale.
    draw_part: function (length, limit, rng) -> positions of a part of a history.
    vocabulary: vocabulary of the answers.
    vectors: vectors of the interactions; None if histories are text.
    text: texts of the interactions; None if histories are vectors.
  """

  question: Question
  genres: Genres
  rule: LabelRule
  of_future: bool
  limits: HistoryLimits
  scale: tuple[float, float]
  draw_part: Callable[[int, int, np.random.Generator], np.ndarray]
  vocabulary: seqio.Vocabulary
  vectors: item_vectors.ItemVectors | None = None
  text: Interactions | None = None


class Target(NamedTuple):
  """Holds a history, or a part of one, with its targets.

  Attributes:
    history: the n interactions.
    tokens: [L] int32 token ids of the target text.
    slots: [2 * most] int32 word indices that `answer_slots` returned.
    statistics: [2G] float32 targets that `history_statistics` returned.
  """

  history: HistoryColumns
  tokens: np.ndarray
  slots: np.ndarray
  statistics: np.ndarray


def answer_slots(
  liked: list[int], disliked: list[int], num_genres: int, most: int
) -> np.ndarray:
  """Returns the class of each slot of an answer, as an index of the template's words.

  Args:
    liked: columns of the liked genres, best first.
    disliked: columns of the disliked genres, worst first.
    num_genres: G.
    most: number of slots on each side.

  Returns:
    [2 * most] int32; slots without a genre have index 2G, the word 'none'.
  """
  slots = np.full(2 * most, 2 * num_genres, np.int32)
  slots[: len(liked)] = liked
  slots[most : most + len(disliked)] = disliked
  slots[most : most + len(disliked)] += num_genres
  return slots


def history_statistics(
  member: np.ndarray, ratings: np.ndarray, scale: tuple[float, float] = _STARS
) -> np.ndarray:
  """Computes the regression targets of a history: mean and count of each genre.

  Args:
    member: [n, G] bool genres of the items.
    ratings: [n] float32 ratings.
    scale: lowest and highest rating of the scale.

  Returns:
    [2G] float32: for each genre the mean rating, as stars from 0.5 to 5, minus 3 (nan
    without ratings), then for each genre log(1 + count).
  """
  count = member.sum(0)
  mean = centred((ratings @ member) / np.where(count, count, np.nan), scale)
  return np.concatenate([mean, np.log1p(count)]).astype(np.float32)


def centred(values: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
  """Returns values of a scale, as stars from 0.5 to 5, minus 3."""
  low, high = scale
  # 3 stars of 0.5 to 5, and the stars of one point, on this scale.
  three = low + (high - low) * (3 - _STARS[0]) / (_STARS[1] - _STARS[0])
  return (values - three) * ((_STARS[1] - _STARS[0]) / (high - low))


class Known(NamedTuple):
  """Holds interactions whose categories and values are known.

  Attributes:
    rows: [E, number of tables] int32 rows of their vectors.
    categories: [E, G] float32, 1 where an interaction's item has the category.
    values: [E] float32 `centred` values.
  """

  rows: np.ndarray
  categories: np.ndarray
  values: np.ndarray


def draw_known(shown: ExampleSource, size: int, *seed) -> Known:
  """Draws interactions from all that have a vector.

  Args:
    shown: source of the examples.
    size: E.
    *seed: [2] int32 seed of the example; without a seed all examples have the same.
  """
  numbers = seed[0].view(np.uint32).tolist() if seed else []
  rng = np.random.default_rng([*numbers, 1])  # not the numbers that draw the history
  rows, items, ratings = shown.vectors.draw(size, rng)
  categories = shown.genres.of_items[items].astype(np.float32)
  return Known(rows, categories, centred(ratings, shown.scale).astype(np.float32))


def draw_answer(shown: ExampleSource, history: HistoryColumns, seed) -> tuple:
  """Draws a part of a history, and an answer that has nothing to do with it.

  Args:
    shown: source of the examples.
    history: n interactions.
    seed: [2] int32 seed of the example.

  Returns:
    The arguments of `make_target`: history, liked, disliked.
  """
  names, most = shown.genres.names, shown.question.most
  # Not the numbers that draw known interactions.
  rng = np.random.default_rng([*seed.view(np.uint32).tolist(), 2])
  rows = shown.draw_part(len(history.items), shown.limits.items, rng)
  drawn = [names[column].encode() for column in rng.permutation(len(names))]
  end, size = rng.integers(0, most, 2, endpoint=True)
  return history.take(rows), drawn[:end], drawn[end : end + size]


def make_target(
  shown: ExampleSource, history: HistoryColumns, liked, disliked, *seed
) -> Target:
  """Makes the target of a history or, with a seed, of a random part of it.

  Args:
    shown: source of the examples.
    history: n interactions.
    liked: liked genres of the full history, names as bytes, best first.
    disliked: disliked genres of the full history, names as bytes, worst first.
    *seed: [2] int32 seed of the part, which gets its label from the rule; without a
      seed, or if labels are of the future, the label is `liked` and `disliked`.
  """
  genres, question = shown.genres, shown.question
  if seed:
    rng = np.random.default_rng(seed[0].view(np.uint32))
    rows = shown.draw_part(len(history.items), shown.limits.items, rng)
    history = history.take(rows)
  if seed and not shown.of_future:
    member = genres.of_items[history.items]
    liked, disliked = label(member, history.ratings, shown.rule)
  else:
    liked, disliked = (
      [genres.names.index(name.decode()) for name in side] for side in (liked, disliked)
    )
  text = question.answer(
    *([genres.names[column] for column in side] for side in (liked, disliked))
  )
  return Target(
    history,
    np.array(shown.vocabulary.encode(text), np.int32),
    answer_slots(liked, disliked, len(genres.names), question.most),
    history_statistics(genres.of_items[history.items], history.ratings, shown.scale),
  )
