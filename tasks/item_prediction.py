"""An auxiliary SeqIO task: soft tokens of one or two interactions, answered with what they are.

The answer, 'Heat (1995): Action, Crime', is short, different every time, and says how
the decoder spells what the vectors hold. `movielens_items_and_genres_v1` mixes the task
with the real one, half and half.
"""

import functools

import numpy as np
import pyarrow.parquet as pq
import seqio
import tensorflow as tf

from tasks import genre_prediction, item_vectors, texts
from tasks.histories import SPLITS, data_folders, load_genres, read_histories
from tasks.prompts import NONE
from tasks.vocabularies import VOCABULARY

TASK = 'movielens_item_prediction_v1'
TASK_PROMPT = '\nMovies:\n'
_MOST_ITEMS = 2


@functools.cache
def item_texts(histories_dir: str) -> list[str]:
  """'Heat (1995): Action, Crime' of each item of the table."""
  items = pq.read_table(f'{histories_dir}/items.parquet')
  return [
    f'{texts.title(row)}: {", ".join(row["genres"]) or NONE}'
    for row in items.select(['title', 'year', 'genres']).to_pylist()
  ]


def _draw(names, genres, vectors, items, ratings, seed):
  """Targets, slots, statistics and vector rows of one or two items of a history."""
  rng = np.random.default_rng(seed.view(np.uint32))
  size = min(int(rng.integers(1, _MOST_ITEMS + 1)), len(items))
  rows = rng.choice(len(items), size, replace=False)
  items, ratings = items[rows], ratings[rows]
  tokens = VOCABULARY.encode('; '.join(names[item] for item in items))
  return (
    np.array(tokens, np.int32),
    genre_prediction.answer_slots([], [], len(genres.names)),
    genre_prediction.history_statistics(genres.of_items[items], ratings),
    vectors.rows(items, ratings),
  )


def ask(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """The task's question about one or two random interactions of every history."""
  folders = data_folders()
  vectors = item_vectors.load(folders.embeddings_dir)
  names, genres = (read(folders.histories_dir) for read in (item_texts, load_genres))
  draw = functools.partial(_draw, names, genres, vectors)
  fields = ('history_items', 'history_ratings')
  with_seed = lambda history, seed: genre_prediction.with_vectors(
    draw, vectors, TASK_PROMPT, history, fields, seed
  )
  return seqio.map_over_dataset(with_seed, num_seeds=1)(dataset)


seqio.TaskRegistry.add(
  TASK,
  source=seqio.FunctionDataSource(read_histories, splits=SPLITS),
  preprocessors=[ask, seqio.preprocessors.append_eos],
  output_features=genre_prediction.FEATURES,
  shuffle_buffer_size=1,  # `read_histories` has shuffled
)
seqio.MixtureRegistry.add(
  'movielens_items_and_genres_v1',
  [(TASK, 1), ('movielens_genre_prediction_subhistories_v1', 1)],
)
