"""Registers an auxiliary task: the answer names the items of one or two interactions.

The targets, such as 'Heat (1995): Action, Crime', differ from example to example, and
spell the contents of the vectors in the decoder's own tokens. The mixture
`movielens_items_and_genres_v1` has equal parts of this task and of genre prediction.
"""

import functools

import numpy as np
import pyarrow.parquet as pq
import seqio

from tasks import (
  example_arrays,
  examples,
  genre_prediction,  # noqa: F401  registers the other task of the mixture
  interaction_texts,
  questions,
)
from tasks.histories import HistorySource, data_folders
from tasks.vocabularies import VOCABULARY

TASK = 'movielens_item_prediction_v1'
TASK_PROMPT = '\nMovies:\n'
_MOST_ITEMS = 2


def item_texts(histories_dir: str) -> list[str]:
  """Writes 'Heat (1995): Action, Crime' for each item of a histories folder."""
  items = pq.read_table(f'{histories_dir}/items.parquet')
  none = questions.asked_question().none
  return [
    f'{interaction_texts.title_with_year(row)}: {", ".join(row["genres"] or [none])}'
    for row in items.select(['title', 'year', 'genres']).to_pylist()
  ]


def _items(names, shown, items, ratings, liked, disliked, seed):
  """Makes the arrays of an example of one or two interactions, without genre labels."""
  del liked, disliked
  rng = np.random.default_rng(seed.view(np.uint32))
  size = min(int(rng.integers(1, _MOST_ITEMS + 1)), len(items))
  drawn = rng.choice(len(items), size, replace=False)
  items, ratings = items[drawn], ratings[drawn]
  member = shown.genres.of_items[items]
  return (
    np.array(VOCABULARY.encode('; '.join(names[item] for item in items)), np.int32),
    example_arrays.answer_slots([], [], member.shape[1], shown.question.most),
    example_arrays.history_statistics(member, ratings, shown.scale),
    shown.vectors.rows(items, ratings),
  )


def _from_items():
  """Returns a function that makes an example of one or two interactions."""
  names = item_texts(data_folders().histories_dir)
  example = functools.partial(_items, names)
  return examples.from_vectors(example, TASK_PROMPT)


seqio.TaskRegistry.add(
  TASK,
  source=HistorySource(),
  preprocessors=[
    functools.partial(examples.parts_of_histories, maker=_from_items),
    seqio.preprocessors.append_eos_after_trim,  # a long title may exceed the limit
  ],
  output_features=examples.FEATURES,
  shuffle_buffer_size=1,  # `read_histories` shuffles
)
seqio.MixtureRegistry.add(
  'movielens_items_and_genres_v1',
  [(TASK, 1), ('movielens_genre_prediction_subhistories_v1', 1)],
)
