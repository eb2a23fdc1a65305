"""The auxiliary task: what is asked of one or two items, and the mixture."""

import itertools

import numpy as np
import pyarrow.parquet as pq
import pytest
import seqio
import tensorflow as tf

from persoma_tf.training import batching
from tasks import genre_prediction, item_prediction, item_vectors, questions
from tasks.vocabularies import VOCABULARY

pytestmark = pytest.mark.assets


def rows(name, lengths, count, seed=0):
  dataset = seqio.get_mixture_or_task(name).get_dataset(lengths, 'train', seed=seed)
  return list(itertools.islice(dataset.as_numpy_iterator(), count))


def decoded(ids):
  return VOCABULARY.decode([int(x) for x in ids if x not in (0, VOCABULARY.eos_id)])


def test_answers_say_what_the_vectors_stand_for(recipe, folders):
  recipe('feature_lengths.min_targets = 64')
  lengths = genre_prediction.feature_lengths()
  items = pq.read_table(folders[0] / 'items.parquet').to_pylist()
  table = item_vectors.load_item_vectors(str(folders[1])).tables[0]
  sizes = set()
  for row in rows(item_prediction.TASK, lengths, 30):
    vectors = row['history_embeddings'][:, : table.shape[1]]
    shown = [items[np.flatnonzero((table == x).all(1))[0]] for x in vectors]
    expected = '; '.join(
      f'{x["title"]} ({x["year"]}): {", ".join(x["genres"])}' for x in shown
    )
    assert decoded(row['targets']) == expected
    assert row['targets'][-1] == VOCABULARY.eos_id
    assert decoded(row['inputs']) == item_prediction.TASK_PROMPT
    sizes.add(len(shown))
  assert sizes == {1, 2}


def test_nothing_is_cut_off(recipe, folders, caplog):
  """Where two items do not fit there is one; where none fits, an error."""
  recipe()
  lengths = genre_prediction.feature_lengths() | {'targets': 20}
  texts = set(item_prediction.item_texts(str(folders[0])))
  found = [decoded(row['targets']) for row in rows(item_prediction.TASK, lengths, 60)]
  assert all(set(text.split('; ')) <= texts for text in found)
  assert any(len(VOCABULARY.encode(text)) > 18 for text in found)
  wrong = f'task {item_prediction.TASK}: targets has a length of .* allow 5, and noth'
  with pytest.raises(tf.errors.InvalidArgumentError, match=wrong):
    rows(item_prediction.TASK, lengths | {'targets': 5}, 1)
  assert 'whose text is longer than targets may be' in caplog.text


@pytest.mark.parametrize('feature', ['inputs', 'targets', 'history_mask'])
def test_an_example_that_is_too_long(recipe, feature):
  """The error of a stream names the task, not the mixture."""
  recipe('feature_lengths.min_targets = 64')
  lengths = genre_prediction.feature_lengths() | {feature: 1}
  wrong = rf'^task (?!movielens_items_and)\w+: {feature} has a length of .* allow 1,'
  with pytest.raises(ValueError, match=wrong):
    next(
      batching.training_batches('movielens_items_and_genres_v1', 'train', lengths, 8, 0)
    )


def test_mixture_asks_both(recipe):
  recipe('feature_lengths.min_targets = 64')
  name, lengths = 'movielens_items_and_genres_v1', genre_prediction.feature_lengths()
  batches = itertools.islice(batching.training_batches(name, 'train', lengths, 8, 0), 5)
  asked = [decoded(row) for x in batches for row in x['encoder_input_tokens']]
  count = asked.count(item_prediction.TASK_PROMPT)
  assert count + asked.count(questions.TASK_PROMPT) == 40
  assert 10 <= count <= 30


def test_no_supervision_where_there_is_nothing_to_like(recipe, folders):
  recipe()
  lengths = genre_prediction.feature_lengths()
  none = lengths['history_statistics']  # the word 'none' stands behind 2G others
  for row in rows(item_prediction.TASK, lengths, 5):
    assert row['answer_slots'].tolist() == [none] * 6
    count = np.expm1(row['history_statistics'][none // 2 :])
    assert count.max() <= 2
