"""Turns stored examples of a question into examples of a SeqIO task.

As in `tasks.examples`, a history is either the vectors of its interactions or text in
the prompt. The prompt differs from example to example. If the question is about items,
the vector of the item is a feature, too.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tasks import (
  example_arrays,
  examples,
  item_vectors,
  question_examples,
  task_features,
)
from tasks.answers.example_question import ExampleQuestion
from tasks.dataset_question import asked_about_examples
from tasks.example_prompts import ExamplePrompts, load_example_prompts
from tasks.feature_room import Room
from tasks.histories import Genres, data_folders, load_genres, load_scale
from tasks.history_columns import FEATURES, HistoryColumns, on_history
from tasks.item_statistics import interaction_vectors
from tasks.text_history import (
  HistoryLimits,
  Interactions,
  check_text_limit,
  history_limits,
  load_interactions,
)
from tasks.vector_features import look_up_of
from tasks.vocabularies import load_vocabulary, task_vocabulary


class ExampleParts(NamedTuple):
  """Holds everything that examples of a question are made from, read from gin once.

  Attributes:
    question: question of the recipe.
    prompts: writer of the prompts.
    label: function from an answer to its token ids, and the words of its slots.
    limits: maximum size of a history.
    vectors: vectors of the interactions; None if histories are text.
    text: texts of the interactions; None if histories are vectors.
    genres: categories of all items; None if histories are text.
    scale: lowest and highest rating of the data set's scale.
  """

  question: ExampleQuestion
  prompts: ExamplePrompts
  label: Callable[[str], tuple[list[int], list[int]]]
  limits: HistoryLimits
  vectors: item_vectors.ItemVectors | None = None
  text: Interactions | None = None
  genres: Genres | None = None
  scale: tuple[float, float] = (0.5, 5.0)


def _source(as_text: bool) -> ExampleParts:
  """Reads the settings of examples from gin; raises as `of_question` does."""
  question, folders = asked_about_examples(), data_folders()
  limits, vocabulary = history_limits(), load_vocabulary(task_vocabulary())
  question.check(vocabulary.encode, vocabulary.unk_id)

  def label(answer: str):
    tokens, slots = question.label(answer, vocabulary.encode)
    vocabulary.notice_unknown(answer, tokens)
    return tokens, slots

  common = (
    question,
    load_example_prompts(question, as_text),
    functools.lru_cache(1 << 14)(label),
    limits,
  )
  if as_text:
    nouns = item_vectors.load_words(folders.embeddings_dir)
    text = load_interactions(folders.histories_dir, nouns, '')
    return ExampleParts(*common, text=text)
  vectors = interaction_vectors()
  if question.num_asked:
    vectors.require_items()
  genres, scale = load_genres(folders.histories_dir), load_scale(folders.histories_dir)
  return ExampleParts(*common, vectors, genres=genres, scale=scale)


def draw_shown(
  source: ExampleParts, size: int, history: HistoryColumns, seed, user: bytes = b''
) -> example_arrays.Known:
  """Draws interactions of a history, whose categories and values are known.

  An item's own interactions are drawn, and not pairs of any item and value, so that
  a mean value of items can be learned from them.

  Args:
    source: source of the examples.
    size: E; with repeats if the history is shorter.
    history: n interactions.
    seed: [2] int32 seed of the example.
    user: id of the user.

  Returns:
    Known with values nan if the history is empty.
  """
  rng = np.random.default_rng([*seed.view(np.uint32).tolist(), 1])
  length = len(history.items)
  if not length:
    rows, items, _ = source.vectors.draw(size, rng)
    values = np.full(size, np.nan, np.float32)
  else:
    history = history.take(rng.choice(length, size, replace=length < size))
    rows, items = source.vectors.rows(history, user), history.items
    values = example_arrays.centred(history.ratings, source.scale).astype(np.float32)
  return example_arrays.Known(
    rows, source.genres.of_items[items].astype(np.float32), values
  )


def _label(source, example_id, answer) -> tuple[list[int], list[int]]:
  """Returns the tokens of an example's answer, and the words of its slots."""
  try:
    return source.label(answer[0].decode())
  except ValueError as error:
    raise ValueError(f'example {example_id.decode()!r} has {error}') from None


def _asked_rows(source, example_id, rows) -> np.ndarray:
  """Returns the rows of the items that an example is about, perhaps none."""
  if source.question.num_asked and not len(rows):
    field = source.question.asked_field
    raise ValueError(
      f'example {example_id.decode()!r} of question {source.question.name} is about no '
      f'item: expected rows of the item table in {field}'
    )
  return rows[: source.question.num_asked]


def _make_arrays(source, room, known, history, *fields):
  """Makes the arrays of an example.

  Args:
    source: source of the examples.
    room: room for an example.
    known: E, number of known interactions; 0 for none.
    history: history of an example.
    *fields: its other features, its own columns, and a seed [2] int32.
  """
  example_id, user, rows, answer, *own, seed = fields
  asked = _asked_rows(source, example_id, rows)
  items = tuple(asked.tolist()) if source.question.item_fields else ()
  targets, slots = _label(source, example_id, answer)
  prompt = source.prompts.tokens(items, tuple(question_examples.texts_of(own)))
  history = history.take(slice(source.limits.items))  # the newest interactions
  if source.text:
    before = source.text.prompt(history, source.limits)
    prompt, rows = [*before.tolist(), *prompt], np.zeros((0, 1), np.int32)
  else:
    rows = source.vectors.rows(history, user)
  room.check(inputs=len(prompt), targets=len(targets) + 1, history_mask=len(rows))
  arrays = (np.array(prompt, np.int32), np.array(targets, np.int32))
  arrays += (np.array(slots, np.int32), rows)
  if source.question.num_asked:
    vectors = source.vectors  # a prompt with the history as text needs no vectors
    arrays += (
      vectors.item_rows(asked, user) if vectors else asked[:, None].astype('i4'),
    )
  if known:
    arrays += draw_shown(source, known, history, seed, user)
  return arrays


def of_question(
  room: Room = Room(),  # noqa: B008  immutable
  as_text: bool = False,
) -> examples.MakeExample:
  """Returns a function that makes an example of the recipe's question.

  Args:
    room: room for an example.
    as_text: whether the history is text in the prompt.

  Raises:
    ValueError: the question is asked about users, or the vocabulary cannot write its
      options, or the vectors have none of an item alone.
  """
  source = _source(as_text)
  vectors, num_asked = source.vectors, source.question.num_asked
  known = room.lengths.get('known_values', 0) if vectors else 0
  types = (tf.int32,) * (4 + bool(num_asked))
  types += (tf.int32, tf.float32, tf.float32) * bool(known)
  of_items = source.question.asked_field
  names = [*FEATURES, 'example_id', 'user_id', of_items, 'answer']
  names += question_examples.field_features(source.question)
  make_arrays = functools.partial(_make_arrays, source, room, known)
  make_arrays = functools.partial(on_history, make_arrays)
  look_up = look_up_of(vectors, room) if vectors else None

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
    if num_asked:
      rows = tf.ensure_shape(next(found), [None, vectors.num_of_item])
      features |= look_up('asked', rows)
    if num_asked > 1:
      features[task_features.ASKED_MASK] = tf.ones_like(rows[:, 0])
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
    ValueError: the recipe allows no text of the history; see also `of_question`.
  """
  check_text_limit(room.task)
  return of_question(room, as_text=True)


Maker = Callable[[Room], examples.MakeExample]
