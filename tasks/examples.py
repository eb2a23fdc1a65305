"""Turns stored histories into examples of a SeqIO task.

An example has its history either as the vectors of the interactions, or as text in the
prompt.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Mapping

import seqio
import tensorflow as tf

from tasks import dataset_question, item_vectors
from tasks.example_arrays import ExampleSource, draw_answer, draw_known, make_target
from tasks.feature_room import Room
from tasks.histories import (
  data_folders,
  history_parts,
  load_genres,
  load_rule,
  load_scale,
)
from tasks.history_columns import FEATURES, on_history
from tasks.item_statistics import interaction_vectors
from tasks.questions import Question
from tasks.text_history import check_text_limit, history_limits, load_interactions
from tasks.vector_features import look_up_of
from tasks.vocabularies import (
  VOCABULARY,
  check_writable,
  load_vocabulary,
  task_vocabulary,
)

_SEED = slice(4, None)  # fields of an example behind its history, user and label
# (history, *seed) -> features of one example.
MakeExample = Callable[..., dict[str, tf.Tensor]]


def whole_histories(
  dataset: tf.data.Dataset,
  maker: Callable[[Room], MakeExample],
  registered: Question | None = None,
  task: str = '',
  sequence_length: Mapping[str, int] | None = None,
) -> tf.data.Dataset:
  """Makes an example of every stored history.

  Args:
    dataset: histories as `tasks.histories.read_histories` returns them.
    maker: function from the room for an example to the function that makes one example;
      called after gin has read the recipe.
    registered: question that the task was registered for; None for any question.
    task: name of the task, for error messages.
    sequence_length: maximum length of each feature; SeqIO gives it.

  Raises:
    ValueError: the recipe asks another question.
  """
  _check_question(registered)
  return seqio.map_over_dataset(maker(Room(task, sequence_length or {})))(dataset)


def parts_of_histories(
  dataset: tf.data.Dataset,
  maker: Callable[[Room], MakeExample],
  registered: Question | None = None,
  task: str = '',
  sequence_length: Mapping[str, int] | None = None,
) -> tf.data.Dataset:
  """Makes an example of a random part of every stored history.

  Args:
    dataset: histories as `tasks.histories.read_histories` returns them.
    maker: function from the room for an example to the function that makes one example;
      called after gin has read the recipe.
    registered: question that the task was registered for; None for any question.
    task: name of the task, for error messages.
    sequence_length: maximum length of each feature; SeqIO gives it.

  Raises:
    ValueError: the recipe asks another question.
  """
  _check_question(registered)
  make_example = maker(Room(task, sequence_length or {}))
  if 'seed' in dataset.element_spec:  # the trainer enters the histories by index
    own_seed = lambda history: make_example(history, history['seed'])
    return seqio.map_over_dataset(own_seed)(dataset)
  with_seed = lambda history, seed: make_example(history, seed)
  return seqio.map_over_dataset(with_seed, num_seeds=1)(dataset)


def _check_question(registered: Question | None) -> None:
  """Checks that the recipe asks the task's question, since targets have its words."""
  asked = dataset_question.asked_question()
  if registered and registered != asked:
    raise ValueError(
      f'the task belongs to question {registered.name}, but the recipe asks question '
      f"{asked.name}: expected question.name = '{registered.name}' in the recipe, "
      'or another train.task'
    )


def _with_vector_rows(source: ExampleSource, history, user, *fields):
  """Makes the arrays of an example and the table rows of its interactions' vectors."""
  history, *arrays = make_target(source, history, *fields)
  newest = history.take(slice(source.limits.items))
  return *arrays, source.vectors.rows(newest, user)


def _with_random_answer(source, history, user, liked, disliked, seed):
  """Makes the arrays of a random part of a history, with an answer drawn at random."""
  del liked, disliked
  history, *answer = draw_answer(source, history, seed)
  return _with_vector_rows(source, history, user, *answer)


def _with_text_tokens(source: ExampleSource, history, user, *fields):
  """Makes the arrays of an example and the tokens of the prompt with its history."""
  del user
  fields = history, *fields
  history, *arrays = make_target(source, *fields)
  return *arrays, source.text.prompt(history, source.limits)


def _fitting_arrays(make_arrays, room, history_feature, *fields):
  """Makes the arrays of an example, and checks that there is room for them."""
  targets, slots, statistics, shown = made = make_arrays(*fields)
  room.check(
    targets=len(targets) + 1,  # + 1 for the end of the sequence
    answer_slots=len(slots),
    history_statistics=len(statistics),
    **{history_feature: len(shown)},
  )
  return made


def _with_known(make_arrays, draw, *fields):
  """Makes the arrays of an example, and those of known interactions."""
  return *make_arrays(*fields), *draw(*fields)


def _draw_any(source, size, *fields):
  """Draws known interactions, whatever the history of the example."""
  return draw_known(source, size, *fields[_SEED])


def _features(make_arrays, history, seed, more=()):
  """Makes the features of both kinds of tasks, the array that holds the history, and
  more arrays, given their types.

  One call into Python makes everything except the vectors, since a call costs more than
  the work in it.
  """
  fields = (*FEATURES, 'user_id', 'liked', 'disliked')
  arguments = [history[name] for name in fields] + list(seed)
  types = (tf.int32, tf.int32, tf.float32, tf.int32, *more)
  make = functools.partial(on_history, make_arrays)
  targets, slots, statistics, *shown = tf.numpy_function(make, arguments, types)
  features = {
    'targets': tf.ensure_shape(targets, [None]),
    'answer_slots': tf.ensure_shape(slots, [None]),
    'history_statistics': tf.ensure_shape(statistics, [None]),
    'user_id': history['user_id'],
  }
  return features, shown


def _source(**shown_by) -> ExampleSource:
  """Reads the settings of examples from gin.

  Args:
    **shown_by: `vectors` or `text` of the interactions.

  Raises:
    ValueError: the vocabulary cannot write an answer with each genre.
  """
  folder, question = data_folders().histories_dir, dataset_question.asked_lists()
  genres = load_genres(folder)
  check_writable(question, genres.names)
  return ExampleSource(
    question,
    genres,
    load_rule(folder),
    _labels_of_future(folder),
    history_limits(),
    load_scale(folder),
    history_parts(),
    load_vocabulary(task_vocabulary()),
    **shown_by,
  )


def _labels_of_future(histories_dir):
  info = json.loads((pathlib.Path(histories_dir) / 'dataset_info.json').read_text())
  return info['label_mode'] == 'future'


def from_vectors(
  room: Room = Room(),  # noqa: B008  immutable
  make_arrays=_with_vector_rows,
  prompt: str = '',
  draw=_draw_any,
) -> MakeExample:
  """Returns a function that makes an example with the vectors of a history.

  Args:
    room: room for an example.
    make_arrays: function (ExampleSource, HistoryColumns, user, liked, disliked, *seed)
      -> (targets, slots, statistics, rows of the vector tables).
    prompt: task prompt; '' for the prompt of the question.
    draw: function (ExampleSource, E, HistoryColumns, user, liked, disliked, *seed) ->
      E known interactions.

  Raises:
    ValueError: there is no room for the prompt.
  """
  vectors = interaction_vectors()
  source = _source(vectors=vectors)
  prompt = prompt or source.question.prompt
  tokens = VOCABULARY.encode(prompt)
  VOCABULARY.notice_unknown(prompt, tokens)
  room.check(inputs=len(tokens))
  make_arrays = functools.partial(make_arrays, source)
  make_arrays = functools.partial(_fitting_arrays, make_arrays, room, 'history_mask')
  size, types = room.lengths.get('known_values', 0), ()
  if size:
    draw = functools.partial(draw, source, size)
    make_arrays = functools.partial(_with_known, make_arrays, draw)
    types = (tf.int32, tf.float32, tf.float32)
  look_up = look_up_of(vectors, room)

  def make_example(history, *seed):
    features, (rows, *known) = _features(make_arrays, history, seed, types)
    rows = tf.ensure_shape(rows, [None, len(vectors.tables)])
    features |= look_up('history', rows)
    features['history_mask'] = tf.ones_like(rows[:, 0])
    features['inputs'] = tf.constant(tokens, tf.int32)
    if known:
      rows = tf.ensure_shape(known[0], [size, len(vectors.tables)])
      features |= look_up('known', rows)
      features['known_categories'] = tf.ensure_shape(known[1], [size, None])
      features['known_values'] = tf.ensure_shape(known[2], [size])
    return features

  return make_example


def with_random_answers(
  room: Room = Room(),  # noqa: B008  immutable
  **settings,
) -> MakeExample:
  """Returns a function that makes an example with a history and a random answer.

  Every genre, and every number of genres on a side, is as common as any other.

  Args:
    room: room for an example.
    **settings: see `from_vectors`.
  """
  return from_vectors(room, _with_random_answer, **settings)


def from_text(room: Room = Room()) -> MakeExample:  # noqa: B008  immutable
  """Returns a function that makes an example with a history as text in the prompt.

  Args:
    room: room for an example.

  Raises:
    ValueError: the recipe allows no text of the history.
  """
  check_text_limit(room.task)
  folders, question = data_folders(), dataset_question.asked_question()
  nouns = item_vectors.load_words(folders.embeddings_dir)
  text = load_interactions(folders.histories_dir, nouns, question.prompt)
  make_arrays = functools.partial(_with_text_tokens, _source(text=text))
  make_arrays = functools.partial(_fitting_arrays, make_arrays, room, 'inputs')

  def make_example(history, *seed):
    features, (tokens,) = _features(make_arrays, history, seed)
    return features | {
      'inputs': tf.ensure_shape(tokens, [None]),
      'history_embeddings': tf.zeros([0, 1]),
      'history_mask': tf.zeros([0], tf.int32),
    }

  return make_example
