"""Registers an auxiliary task: the answer names the items of one or two interactions.

The targets, such as 'Heat (1995): Action, Crime', differ from example to example, and
spell the contents of the vectors in the decoder's own tokens. The mixture
`movielens_items_and_genres_v1` has equal parts of this task and of genre prediction.
"""

import functools
import itertools
import logging

import numpy as np
import pyarrow.parquet as pq
import seqio

from tasks import (
  dataset_question,
  example_arrays,
  examples,
  feature_room,
  genre_prediction,  # noqa: F401  registers the other task of the mixture
  interaction_texts,
  task_features,
)
from tasks.histories import HistorySource, data_folders
from tasks.vocabularies import VOCABULARY

logger = logging.getLogger(__name__)
TASK = 'movielens_item_prediction_v1'
TASK_PROMPT = '\nMovies:\n'
_MOST_ITEMS = 2


def item_texts(histories_dir: str) -> list[str]:
  """Writes 'Heat (1995): Action, Crime' for each item of a histories folder."""
  items = pq.read_table(f'{histories_dir}/items.parquet')
  none = dataset_question.asked_question().none
  return [
    f'{interaction_texts.title_with_year(row)}: {", ".join(row["genres"] or [none])}'
    for row in items.select(['title', 'year', 'genres']).to_pylist()
  ]


def _items(names, room, shown, history, user, liked, disliked, seed):
  """Makes the arrays of an example of one or two interactions, without genre labels."""
  del liked, disliked
  rng = np.random.default_rng(seed.view(np.uint32))
  size = int(rng.integers(1, _MOST_ITEMS + 1))
  size = min(size, len(history.items), shown.limits.items)
  drawn = rng.choice(len(history.items), size, replace=False)
  drawn, tokens = _fitting(names, room, history.items, drawn)
  history = history.take(drawn)
  member = shown.genres.of_items[history.items]
  text = '; '.join(names[item] for item in history.items)
  tokens = VOCABULARY.encode(text)
  VOCABULARY.notice_unknown(text, tokens)
  return (
    np.array(tokens, np.int32),
    example_arrays.answer_slots([], [], member.shape[1], shown.question.most),
    example_arrays.history_statistics(member, history.ratings, shown.scale),
    shown.vectors.rows(history, user),
  )


def _fitting(names, room, items, drawn):
  """Returns rows of a history, and the tokens of their text, which have room.

  These are the drawn rows, else one of them, else another row, else the last one.
  """
  singles = ([row] for row in (*drawn, *range(len(items))))
  for rows in itertools.chain([drawn], singles):
    text = '; '.join(names[item] for item in items[rows])
    tokens = VOCABULARY.encode(text)
    if len(tokens) < room.lengths.get('targets', np.inf):
      break
    if len(rows) == 1:
      _warn_of_long_texts(room.task)
  return rows, tokens


@functools.cache
def _warn_of_long_texts(task) -> None:
  """Warns once."""
  logger.warning(
    'task %s: items whose text is longer than targets may be are not asked about; '
    'feature_lengths.min_targets makes room for them',
    task,
  )


def _from_items(room: feature_room.Room):
  """Returns a function that makes an example of one or two interactions."""
  names = item_texts(data_folders().histories_dir)
  example = functools.partial(_items, names, room)
  return examples.from_vectors(room, example, TASK_PROMPT)


seqio.TaskRegistry.add(
  TASK,
  source=HistorySource(),
  preprocessors=[
    functools.partial(examples.parts_of_histories, maker=_from_items, task=TASK),
    seqio.preprocessors.append_eos,
  ],
  output_features=task_features.FEATURES,
  shuffle_buffer_size=1,  # `read_histories` shuffles
)
seqio.MixtureRegistry.add(
  'movielens_items_and_genres_v1',
  [(TASK, 1), ('movielens_genre_prediction_subhistories_v1', 1)],
)
