"""MovieLens genre prediction as SeqIO tasks.

`movielens_genre_prediction_v1` asks about the history as it is stored; its label is
that of the user's full history. `movielens_genre_prediction_subhistories_v1` is for
training: every pass draws another part of each stored history and computes the label
of that part, so that a few hundred users give as many examples as wanted, none of
them contradictory.

Each has a twin with `_text_`, whose prompt is the history itself as text: the baseline
that soft prompts are measured against.

Where the data lies is set by gin: `data_folders.histories_dir`, `.embeddings_dir`.
"""

import functools
from typing import NamedTuple

import gin
import numpy as np
import seqio
import tensorflow as tf

from persoma_tf.soft_prompt import AnswerTemplate
from tasks import item_vectors, prompts
from tasks.histories import (
  SPLITS,
  Genres,
  data_folders,
  load_genres,
  read_histories,
  sub_history,
)
from tasks.labels import LabelRule, label
from tasks.metrics import genre_scores
from tasks.text_history import (
  HistoryLimits,
  Interactions,
  history_limits,
  load_interactions,
)
from tasks.vocabularies import VOCABULARY

SLOTS_A_SIDE = 3  # how many genres an answer can name on each side


@gin.configurable
def answer_template() -> AnswerTemplate:
  """The answer as the trainer takes it, its words one a class: liked, disliked, none.

  A genre stands among the words twice, because liking it and disliking it are two
  things to tell the decoder.
  """
  names = load_genres(data_folders().histories_dir).names
  words = [f' {name}' for name in (*names, *names, prompts.NONE)]
  return AnswerTemplate(prompts.ANSWER_PARTS, words)


@gin.configurable
def feature_lengths(min_targets: int = 0) -> dict[str, int]:
  """Padded lengths of the features, none of which any example exceeds.

  Args:
    min_targets: room for the answers of other tasks that stand beside this one.
  """
  limits = history_limits()
  vectors = 0 if limits.text_tokens else limits.items
  genres = load_genres(data_folders().histories_dir).names
  size = lambda text: len(VOCABULARY.encode(text))
  longest = sorted(genres, key=lambda name: size(f' {name},'))[-SLOTS_A_SIDE:]
  return {
    'inputs': limits.text_tokens + size(prompts.TASK_PROMPT),
    # One more for the end of the sequence.
    'targets': max(size(prompts.answer_text(longest, longest)) + 1, min_targets),
    'history_embeddings': vectors,
    'history_mask': vectors,
    'answer_slots': 2 * SLOTS_A_SIDE,
    'history_statistics': 2 * len(genres),
  }


def answer_slots(liked: list[int], disliked: list[int], num_genres: int) -> np.ndarray:
  """The class that each place of an answer holds, as indices of its template's words.

  Args:
    liked: genre columns, best first.
    disliked: genre columns, worst first.
    num_genres: G.

  Returns:
    [2 * SLOTS_A_SIDE] int32; places without a genre hold 2G, the word 'none'.
  """
  slots = np.full(2 * SLOTS_A_SIDE, 2 * num_genres, np.int32)
  slots[: len(liked)] = liked
  slots[SLOTS_A_SIDE : SLOTS_A_SIDE + len(disliked)] = disliked
  slots[SLOTS_A_SIDE : SLOTS_A_SIDE + len(disliked)] += num_genres
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


class _Target(NamedTuple):
  """A history, or a part of it, with what is asked of it."""

  items: np.ndarray
  ratings: np.ndarray
  tokens: np.ndarray
  slots: np.ndarray
  statistics: np.ndarray


class Shown(NamedTuple):
  """What an example is made from, asked of gin once and not for every example."""

  genres: Genres
  limits: HistoryLimits
  vectors: item_vectors.ItemVectors | None = None
  text: Interactions | None = None


def _target(shown: Shown, items, ratings, liked, disliked, *seed) -> _Target:
  """One history as the arrays of an example; with a seed, one part of it."""
  genres = shown.genres
  if seed:
    rng = np.random.default_rng(seed[0].view(np.uint32))
    rows = sub_history(len(items), shown.limits.items, rng)
    items, ratings = items[rows], ratings[rows]
    liked, disliked = label(genres.of_items[items], ratings, LabelRule())
  else:
    liked, disliked = (
      [genres.names.index(name.decode()) for name in side] for side in (liked, disliked)
    )
  text = prompts.answer_text(*([genres.names[i] for i in x] for x in (liked, disliked)))
  return _Target(
    items,
    ratings,
    np.array(VOCABULARY.encode(text), np.int32),
    answer_slots(liked, disliked, len(genres.names)),
    history_statistics(genres.of_items[items], ratings),
  )


def _as_rows(shown: Shown, *history):
  """An example whose history is given by rows of the vector tables."""
  target = _target(shown, *history)
  return *target[2:], shown.vectors.rows(target.items, target.ratings)


def _as_text(shown: Shown, *history):
  """An example whose history stands in the prompt."""
  target = _target(shown, *history)
  return *target[2:], shown.text.prompt(target.items, target.ratings, shown.limits)


def _features(example, history, seed):
  """The features that both kinds of task have, and what shows the history.

  One call into Python makes all but the vectors, tokens too: a call costs more than
  what is done in it.
  """
  fields = ('history_items', 'history_ratings', 'liked', 'disliked')
  arguments = [history[name] for name in fields] + list(seed)
  types = (tf.int32, tf.int32, tf.float32, tf.int32)
  targets, slots, statistics, shown = tf.numpy_function(example, arguments, types)
  features = {
    'targets': tf.ensure_shape(targets, [None]),
    'answer_slots': tf.ensure_shape(slots, [None]),
    'history_statistics': tf.ensure_shape(statistics, [None]),
    'user_id': history['user_id'],
  }
  return features, shown


def about_vectors(example=_as_rows, prompt=prompts.TASK_PROMPT):
  """A function that asks about a history behind its vectors.

  Args:
    example: (Shown, items, ratings, liked, disliked, *seed) -> targets, slots,
      statistics and rows of the vector tables.
    prompt: the task prompt.
  """
  folders = data_folders()
  vectors = item_vectors.load(folders.embeddings_dir)
  shown = Shown(load_genres(folders.histories_dir), history_limits(), vectors)
  example = functools.partial(example, shown)
  tables = [tf.constant(table) for table in vectors.tables]

  def ask(history, *seed):
    features, rows = _features(example, history, seed)
    rows = tf.ensure_shape(rows, [None, len(tables)])
    # The one large part of an example is made here, in one piece and without Python.
    vectors = [tf.gather(x, rows[:, column]) for column, x in enumerate(tables)]
    return features | {
      'inputs': tf.constant(VOCABULARY.encode(prompt), tf.int32),
      'history_embeddings': tf.concat(vectors, axis=1),
      'history_mask': tf.ones_like(rows[:, 0]),
    }

  return ask


def _about_text():
  """A function that asks about a history that stands in the prompt."""
  folder = data_folders().histories_dir
  shown = Shown(load_genres(folder), history_limits(), text=load_interactions(folder))
  example = functools.partial(_as_text, shown)

  def ask(history, *seed):
    features, tokens = _features(example, history, seed)
    return features | {
      'inputs': tf.ensure_shape(tokens, [None]),
      'history_embeddings': tf.zeros([0, 1]),
      'history_mask': tf.zeros([0], tf.int32),
    }

  return ask


def ask(dataset: tf.data.Dataset, question=about_vectors) -> tf.data.Dataset:
  """The task's question about every stored history."""
  return seqio.map_over_dataset(question())(dataset)


def ask_about_a_part(
  dataset: tf.data.Dataset, question=about_vectors
) -> tf.data.Dataset:
  """The task's question about a random part of every stored history."""
  asked = question()
  with_seed = lambda history, seed: asked(history, seed)
  return seqio.map_over_dataset(with_seed, num_seeds=1)(dataset)


def parse(output: str, **_) -> prompts.Answer:
  """SeqIO postprocessor; unreadable answers are counted by the metric."""
  return prompts.parse_answer(output, load_genres(data_folders().histories_dir).names)


_INTEGERS = seqio.PassThroughVocabulary(1)
FEATURES = {
  'inputs': seqio.Feature(VOCABULARY, add_eos=False),
  'targets': seqio.Feature(VOCABULARY, add_eos=True),
  'history_embeddings': seqio.ContinuousFeature(dtype=tf.float32, rank=2),
  'history_mask': seqio.Feature(_INTEGERS, add_eos=False),
  'answer_slots': seqio.Feature(_INTEGERS, add_eos=False, required=False),
  'history_statistics': seqio.ContinuousFeature(
    dtype=tf.float32, rank=1, required=False
  ),
}
seqio.TaskRegistry.add(
  prompts.TASK,
  source=seqio.FunctionDataSource(read_histories, splits=SPLITS),
  preprocessors=[ask, seqio.preprocessors.append_eos],
  output_features=FEATURES,
  postprocess_fn=parse,
  metric_fns=[genre_scores],
)
seqio.TaskRegistry.add(
  'movielens_genre_prediction_subhistories_v1',
  source=seqio.FunctionDataSource(read_histories, splits=SPLITS),
  preprocessors=[ask_about_a_part, seqio.preprocessors.append_eos],
  output_features=FEATURES,
  postprocess_fn=parse,
  metric_fns=[genre_scores],
  shuffle_buffer_size=1,  # `read_histories` has shuffled
)

# The baseline: the history as text.
seqio.TaskRegistry.add(
  'movielens_genre_prediction_text_v1',
  source=seqio.FunctionDataSource(read_histories, splits=SPLITS),
  preprocessors=[
    functools.partial(ask, question=_about_text),
    seqio.preprocessors.append_eos,
  ],
  output_features=FEATURES,
  postprocess_fn=parse,
  metric_fns=[genre_scores],
)
seqio.TaskRegistry.add(
  'movielens_genre_prediction_text_subhistories_v1',
  source=seqio.FunctionDataSource(read_histories, splits=SPLITS),
  preprocessors=[
    functools.partial(ask_about_a_part, question=_about_text),
    seqio.preprocessors.append_eos,
  ],
  output_features=FEATURES,
  postprocess_fn=parse,
  metric_fns=[genre_scores],
  shuffle_buffer_size=1,  # `read_histories` has shuffled
)
