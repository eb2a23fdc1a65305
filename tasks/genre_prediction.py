"""MovieLens genre prediction as SeqIO tasks.

`movielens_genre_prediction_v1` asks about the history as it is stored; its label is
that of the user's full history. `movielens_genre_prediction_subhistories_v1` is for
training: every pass draws another part of each stored history and computes the label
of that part, so that a few hundred users give as many examples as wanted, none of
them contradictory.

Where the data lies is set by gin: `data_folders.histories_dir`, `.embeddings_dir`.
"""

import functools
import json
import pathlib
from typing import NamedTuple

import gin
import numpy as np
import pyarrow.parquet as pq
import seqio
import tensorflow as tf

from persoma_tf.soft_prompt import AnswerTemplate
from tasks import item_vectors, prompts
from tasks.labels import LabelRule, label
from tasks.metrics import genre_scores
from tasks.vocabularies import GgufVocabulary

SPLITS = ('train', 'validation', 'test')
SLOTS_A_SIDE = 3  # how many genres an answer can name on each side
HISTORY_FIELDS = {
  'user_id': tf.io.FixedLenFeature([], tf.string),
  'history_items': tf.io.RaggedFeature(tf.int64),
  'history_ratings': tf.io.RaggedFeature(tf.float32),
  'liked': tf.io.RaggedFeature(tf.string),
  'disliked': tf.io.RaggedFeature(tf.string),
}


class Folders(NamedTuple):
  """Finished folders of `build_histories` and `embed_items`."""

  histories_dir: str
  embeddings_dir: str


@gin.configurable
def data_folders(
  histories_dir: str = gin.REQUIRED, embeddings_dir: str = gin.REQUIRED
) -> Folders:
  """Where the tasks read."""
  return Folders(histories_dir, embeddings_dir)


class Genres(NamedTuple):
  """Genre names and the genres of every item.

  Attributes:
    names: the G names, sorted.
    of_items: [I, G] bool.
  """

  names: tuple[str, ...]
  of_items: np.ndarray


@functools.cache
def load_genres(histories_dir: str) -> Genres:
  """Reads the item table of a histories folder."""
  folder = pathlib.Path(histories_dir)
  names = json.loads((folder / 'dataset_info.json').read_text())['genres']
  listed = pq.read_table(folder / 'items.parquet', columns=['genres'])['genres']
  of_items = np.zeros((len(listed), len(names)), bool)
  for row, genres in enumerate(listed.to_pylist()):
    of_items[row, [names.index(name) for name in genres]] = True
  return Genres(tuple(names), of_items)


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
def feature_lengths(history: int = gin.REQUIRED) -> dict[str, int]:
  """Padded lengths of the features, none of which any example exceeds.

  Args:
    history: N, the interactions shown; of a longer history the newest.
  """
  genres = load_genres(data_folders().histories_dir).names
  size = lambda text: len(VOCABULARY.encode(text))
  longest = sorted(genres, key=lambda name: size(f' {name},'))[-SLOTS_A_SIDE:]
  return {
    'inputs': size(prompts.TASK_PROMPT),
    'targets': size(prompts.answer_text(longest, longest)) + 1,  # end of sequence
    'history_embeddings': history,
    'history_mask': history,
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


@gin.configurable
def sub_history(
  length: int, rng: np.random.Generator, min_items: int = 20, window_share: float = 0.5
) -> np.ndarray:
  """Draws a part of a history.

  Args:
    length: n, items in the history.
    rng: random generator.
    min_items: the least number of items, where there are so many.
    window_share: share of draws that are a window of consecutive items, as the
      recency sampler gives; the others are random items.

  Returns:
    [m] int64 positions, ascending, so that newest stay first; m is drawn
    log-uniformly from min_items to n.
  """
  low = np.log(min(min_items, length))
  size = int(np.exp(rng.uniform(low, np.log(length + 1))))
  if rng.random() < window_share:
    return np.arange(size) + rng.integers(length - size + 1)
  return np.sort(rng.choice(length, size, replace=False))


def read_histories(split: str, shuffle_files: bool, seed: int | None = None):
  """SeqIO source: the histories of a split as dense tensors.

  With `shuffle_files` the users come in an order given by `seed`.
  """
  folder = pathlib.Path(data_folders().histories_dir)
  files = sorted(str(path) for path in folder.glob(f'{split}-*.tfrecord*'))
  if not files:
    raise FileNotFoundError(f'{folder}: no {split}-*.tfrecord in it')
  if shuffle_files:
    files = np.random.default_rng(seed).permutation(files).tolist()
  compression = 'GZIP' if files[0].endswith('.gz') else ''
  records = tf.data.TFRecordDataset(files, compression)
  if shuffle_files:  # as records, which are small; examples with vectors are not
    records = records.shuffle(10_000, seed=seed)
  return records.map(lambda x: tf.io.parse_single_example(x, HISTORY_FIELDS))


def _example(items, ratings, liked, disliked, *seed):
  """One history as the arrays of an example; with a seed, one part of it."""
  folders = data_folders()
  genres = load_genres(folders.histories_dir)
  if seed:
    rows = sub_history(len(items), np.random.default_rng(seed[0].view(np.uint32)))
    items, ratings = items[rows], ratings[rows]
    liked, disliked = label(genres.of_items[items], ratings, LabelRule())
  else:
    liked, disliked = (
      [genres.names.index(name.decode()) for name in side] for side in (liked, disliked)
    )
  text = prompts.answer_text(*([genres.names[i] for i in x] for x in (liked, disliked)))
  return (
    np.array(VOCABULARY.encode(text), np.int32),
    item_vectors.load(folders.embeddings_dir).rows(items, ratings),
    answer_slots(liked, disliked, len(genres.names)),
    history_statistics(genres.of_items[items], ratings),
  )


def _ask(tables, history, *seed):
  """Maps a stored history to the features of the task.

  One call into Python makes all but the vectors, tokens too: a call costs more than
  what is done in it.
  """
  fields = ('history_items', 'history_ratings', 'liked', 'disliked')
  arguments = [history[name] for name in fields] + list(seed)
  types = (tf.int32, tf.int32, tf.int32, tf.float32)
  targets, rows, slots, statistics = tf.numpy_function(_example, arguments, types)
  rows = tf.ensure_shape(rows, [None, len(tables)])
  # The one large part of an example is made here, in one piece and without Python.
  vectors = [tf.gather(x, rows[:, column]) for column, x in enumerate(tables)]
  return {
    'inputs': tf.constant(VOCABULARY.encode(prompts.TASK_PROMPT), tf.int32),
    'targets': tf.ensure_shape(targets, [None]),
    'history_embeddings': tf.concat(vectors, axis=1),
    'history_mask': tf.ones_like(rows[:, 0]),
    'answer_slots': tf.ensure_shape(slots, [None]),
    'history_statistics': tf.ensure_shape(statistics, [None]),
    'user_id': history['user_id'],
  }


def _tables():
  vectors = item_vectors.load(data_folders().embeddings_dir)
  return [tf.constant(table) for table in vectors.tables]


def ask(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """The task's question about every stored history."""
  return seqio.map_over_dataset(functools.partial(_ask, _tables()))(dataset)


def ask_about_a_part(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """The task's question about a random part of every stored history."""
  question = functools.partial(_ask, _tables())
  with_seed = lambda history, seed: question(history, seed)
  return seqio.map_over_dataset(with_seed, num_seeds=1)(dataset)


def parse(output: str, **_) -> prompts.Answer:
  """SeqIO postprocessor; unreadable answers are counted by the metric."""
  return prompts.parse_answer(output, load_genres(data_folders().histories_dir).names)


VOCABULARY = GgufVocabulary('smollm2-135m-instruct')
_INTEGERS = seqio.PassThroughVocabulary(1)
_FEATURES = {
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
  output_features=_FEATURES,
  postprocess_fn=parse,
  metric_fns=[genre_scores],
)
seqio.TaskRegistry.add(
  'movielens_genre_prediction_subhistories_v1',
  source=seqio.FunctionDataSource(read_histories, splits=SPLITS),
  preprocessors=[ask_about_a_part, seqio.preprocessors.append_eos],
  output_features=_FEATURES,
  postprocess_fn=parse,
  metric_fns=[genre_scores],
  shuffle_buffer_size=1,  # `read_histories` has shuffled
)
