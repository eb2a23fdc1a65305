"""Examples with random answers, for stages that teach a decoder to copy."""

import numpy as np
import pytest

from persoma_tf.training import batching
from tasks import genre_prediction, histories, questions
from tasks.answers import lists
from tasks.vocabularies import VOCABULARY

TASK = 'movielens_genre_prediction_random_answers_v1'
SIZE = 512


@pytest.fixture
def batch(recipe):
  """Many examples."""
  recipe()
  lengths = genre_prediction.feature_lengths()
  return next(batching.training_batches(TASK, 'train', lengths, SIZE, seed=0))


@pytest.fixture
def genres(batch):
  """Names of the genres."""
  return histories.load_genres(histories.data_folders().histories_dir).names


def test_text_and_slots_say_the_same(batch, genres):
  size, most = len(genres), questions.MOVIELENS.most
  assert batch['answer_slots'].shape == (SIZE, 2 * most)
  for row, slots in enumerate(batch['answer_slots'].tolist()):
    tokens = batch['decoder_target_tokens'][row]
    text = VOCABULARY.decode(tokens[batch['decoder_loss_weights'][row] > 0].tolist())
    answer = questions.MOVIELENS.parse(text, genres)
    liked = [genres[x] for x in slots[:most] if x < 2 * size]
    disliked = [genres[x - size] for x in slots[most:] if x < 2 * size]
    assert answer == lists.Answer(tuple(liked), tuple(disliked), True)
    assert not {*liked} & {*disliked}


def test_all_lengths_and_genres_are_as_common(batch, genres):
  size, most = len(genres), questions.MOVIELENS.most
  for side in np.split(batch['answer_slots'], [most], axis=1):
    there = side < 2 * size
    assert (np.diff(there.astype(int)) <= 0).all()  # empty slots are the last ones
    lengths = np.bincount(there.sum(1), minlength=most + 1)
    # Four standard deviations of a binomial count.
    bound = lambda n, p: 4 * np.sqrt(n * p * (1 - p))
    fair = 1 / (most + 1)
    assert np.abs(lengths - SIZE * fair).max() < bound(SIZE, fair)
    words = np.bincount(side[there] % size, minlength=size)
    assert np.abs(words - there.sum() / size).max() < bound(there.sum(), 1 / size)


def test_histories_are_parts_of_the_stored_ones(batch):
  numbers = batch['history_mask'].sum(1)
  assert numbers.min() > 0
  assert len({*numbers.tolist()}) > 1


def test_stable(batch):
  lengths = genre_prediction.feature_lengths()
  for seed, same in ((0, True), (1, False)):
    other = next(batching.training_batches(TASK, 'train', lengths, SIZE, seed))
    assert np.array_equal(batch['answer_slots'], other['answer_slots']) is same
