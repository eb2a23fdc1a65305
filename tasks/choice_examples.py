"""Turns stored examples of a choice into examples of a SeqIO task.

As in `tasks.examples`, a history is either the vectors of its interactions or text in
the prompt. The prompt differs from example to example. If the question is about items,
the vector of the item is a feature, too.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tasks import example_arrays, examples, item_vectors, question_examples
from tasks.answers.choice import Choice
from tasks.choice_prompts import ChoicePrompts, load_choice_prompts
from tasks.dataset_question import asked_choice
from tasks.feature_room import Room
from tasks.histories import Genres, data_folders, load_genres, load_scale
from tasks.text_history import (
  HistoryLimits,
  Interactions,
  check_text_limit,
  history_limits,
  load_interactions,
)
from tasks.vocabularies import load_vocabulary, task_vocabulary


class ChoiceSource(NamedTuple):
  """Holds everything that examples of a choice are made from, read from gin once.

  Attributes:
    question: question of the recipe.
    prompts: writer of the prompts.
    targets: token ids of each option as an answer.
    limits: maximum size of a history.
    vectors: vectors of the interactions; None if histories are text.
    text: texts of the interactions; None if histories are vectors.
    genres: categories of all items; None if histories are text.
    scale: lowest and highest rating of the data set's scale.
  """

  question: Choice
  prompts: ChoicePrompts
  targets: list[list[int]]
  limits: HistoryLimits
  vectors: item_vectors.ItemVectors | None = None
  text: Interactions | None = None
  genres: Genres | None = None
  scale: tuple[float, float] = (0.5, 5.0)


def _source(as_text: bool) -> ChoiceSource:
  """Reads the settings of examples from gin; raises as `of_choice` does."""
  question, folders = asked_choice(), data_folders()
  limits, vocabulary = history_limits(), load_vocabulary(task_vocabulary())
  question.check(vocabulary.encode, vocabulary.unk_id)
  common = (
    question,
    load_choice_prompts(question, as_text),
    question.target_tokens(vocabulary.encode),
    limits,
  )
  if as_text:
    nouns = item_vectors.load_words(folders.embeddings_dir)
    text = load_interactions(folders.histories_dir, nouns, '')
    return ChoiceSource(*common, text=text)
  vectors = item_vectors.load_item_vectors(folders.embeddings_dir)
  if question.asks_item:
    vectors.require_items()
  genres, scale = load_genres(folders.histories_dir), load_scale(folders.histories_dir)
  return ChoiceSource(*common, vectors, genres=genres, scale=scale)


def draw_shown(
  source: ChoiceSource, size: int, items, ratings, seed
) -> example_arrays.Known:
  """Draws interactions of a history, whose categories and values are known.

  An item's own interactions are drawn, and not pairs of any item and value, so that
  a mean value of items can be learned from them.

  Args:
    source: source of the examples.
    size: E; with repeats if the history is shorter.
    items: [n] row numbers of the item table.
    ratings: [n] float32 values.
    seed: [2] int32 seed of the example.

  Returns:
    Known with values nan if the history is empty.
  """
  # Not the numbers that draw an answer.
  rng = np.random.default_rng([*seed.view(np.uint32).tolist(), 1])
  if not len(items):
    rows, items, _ = source.vectors.draw(size, rng)
    values = np.full(size, np.nan, np.float32)
  else:
    drawn = rng.choice(len(items), size, replace=len(items) < size)
    items, ratings = items[drawn], ratings[drawn]
    rows = source.vectors.rows(items, ratings)
    values = example_arrays.centred(ratings, source.scale).astype(np.float32)
  return example_arrays.Known(
    rows, source.genres.of_items[items].astype(np.float32), values
  )


def _chosen(source, example_id, answer) -> int:
  """Returns the number of the option that is an example's answer."""
  text, options = answer[0].decode(), source.question.options
  if text not in options:
    raise ValueError(
      f'example {example_id.decode()!r} has the answer {text!r}: expected one of '
      f'{list(options)}, the options of question {source.question.name}'
    )
  return options.index(text)


def _asked_item(source, example_id, example_item) -> int | None:
  """Returns the row of the item that an example is about; None without one."""
  if not source.question.asks_item:
    return None
  if not len(example_item):
    raise ValueError(
      f'example {example_id.decode()!r} of question {source.question.name} is about no '
      'item: expected the row of one in example_item'
    )
  return int(example_item[0])


def _make_arrays(source, room, known, draws, *fields):
  """Makes the arrays of an example.

  Args:
    source: source of the examples.
    room: room for an example.
    known: E, number of known interactions; 0 for none.
    draws: whether the answer is drawn at random.
    *fields: features of an example, its own columns, and a seed [2] int32.
  """
  example_id, item, answer, items, ratings, *own, seed = fields
  item = _asked_item(source, example_id, item)
  if draws:
    rng = np.random.default_rng([*seed.view(np.uint32).tolist(), 2])
    chosen = int(rng.integers(len(source.targets)))
  else:
    chosen = _chosen(source, example_id, answer)
  prompt = source.prompts.tokens(item, tuple(question_examples.texts_of(own)))
  shown = slice(source.limits.items)  # the newest interactions
  if source.text:
    history = source.text.prompt(items, ratings, source.limits)
    prompt, rows = [*history.tolist(), *prompt], np.zeros((0, 1), np.int32)
  else:
    rows = source.vectors.rows(items[shown], ratings[shown])
  targets = source.targets[chosen]
  room.check(inputs=len(prompt), targets=len(targets) + 1, history_mask=len(rows))
  arrays = (np.array(prompt, np.int32), np.array(targets, np.int32))
  arrays += (np.array([chosen], np.int32), rows)
  if source.question.asks_item:
    arrays += (np.array([[item]], np.int32),)
  if known:
    arrays += draw_shown(source, known, items[shown], ratings[shown], seed)
  return arrays


def of_choice(
  room: Room = Room(),  # noqa: B008  immutable
  draws: bool = False,
  as_text: bool = False,
) -> examples.MakeExample:
  """Returns a function that makes an example of the recipe's question.

  Args:
    room: room for an example.
    draws: whether answers are drawn, every option as often as any other: for stages
      with `Stage.teach`.
    as_text: whether the history is text in the prompt.

  Raises:
    ValueError: the vocabulary cannot write the options, or the vectors have none of an
      item alone.
  """
  source = _source(as_text)
  vectors, asks_item = source.vectors, source.question.asks_item
  known = room.lengths.get('known_values', 0) if vectors else 0
  types = (tf.int32,) * (4 + asks_item) + (tf.int32, tf.float32, tf.float32) * bool(
    known
  )
  names = ['example_id', 'example_item', 'answer', 'history_items', 'history_ratings']
  names += question_examples.field_features(source.question)
  make_arrays = functools.partial(_make_arrays, source, room, known, draws)
  look_up = examples.look_up_of(vectors, room) if vectors else None

  def make_example(example, seed):
    arguments = [*(example[name] for name in names), seed]
    found = iter(tf.numpy_function(make_arrays, arguments, types))
    one = lambda: tf.ensure_shape(next(found), [None])
    features = {'inputs': one(), 'targets': one(), 'answer_slots': one()}
    rows = next(found)
    features |= {name: example[name] for name in ('user_id', 'example_id')}
    if not vectors:
      empty = {'history_embeddings': tf.zeros([0, 1])}
      return features | empty | {'history_mask': tf.zeros([0], tf.int32)}
    rows = tf.ensure_shape(rows, [None, len(vectors.tables)])
    features |= look_up('history', rows) | {'history_mask': tf.ones_like(rows[:, 0])}
    if asks_item:
      features |= look_up('asked', tf.ensure_shape(next(found), [1, 1]))
    if known:
      rows = tf.ensure_shape(next(found), [known, len(vectors.tables)])
      features |= look_up('known', rows)
      features['known_categories'] = tf.ensure_shape(next(found), [known, None])
      features['known_values'] = tf.ensure_shape(next(found), [known])
    return features

  return make_example


def with_text_history(room: Room = Room()) -> examples.MakeExample:  # noqa: B008  immutable
  """Returns a function that makes an example with a history as text in the prompt.

  Args:
    room: room for an example.

  Raises:
    ValueError: the recipe allows no text of the history; see also `of_choice`.
  """
  check_text_limit(room.task)
  return of_choice(room, as_text=True)


def with_drawn_options(room: Room = Room()) -> examples.MakeExample:  # noqa: B008  immutable
  """Returns a function that makes an example whose answer is drawn at random.

  Args:
    room: room for an example.
  """
  return of_choice(room, draws=True)


Maker = Callable[[Room], examples.MakeExample]
