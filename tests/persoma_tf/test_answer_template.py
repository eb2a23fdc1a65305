"""Options in slots, and the choice of words, against plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf.answer_form import Options
from persoma_tf.answer_template import chosen_words, spread_options

FIRST, G, W = (0, 0, 0, 4, 4, 4), 4, 9  # two lists of up to three of four options


def by_hand(logits: np.ndarray) -> list[int]:
  """Reads the slots [6, W] of one answer greedily; no list names an option twice."""
  words = []
  for side in (0, 1):
    free, ended = [*range(side * G, side * G + G), 2 * G], False
    for slot in range(3 * side, 3 * side + 3):
      best = 2 * G if ended else max(free, key=lambda word: logits[slot, word])
      ended |= best == 2 * G
      free = [word for word in free if word != best or word == 2 * G]
      words.append(best)
  return words


def random_logits(seed: int, batch: int = 200) -> jax.Array:
  keys = jax.random.split(jax.random.key(seed))
  options = 2 * jax.random.normal(keys[0], (batch, 6, G))
  others = jax.random.normal(keys[1], (batch, 6, 1))
  return spread_options(options, others, Options(FIRST, G), W)


def test_slots_name_their_own_options():
  options = jnp.arange(2 * 6 * G, dtype=jnp.float32).reshape(2, 6, G)
  others = -jnp.ones((2, 6, 1))
  logits = np.asarray(spread_options(options, others, Options(FIRST, G), W))
  for slot, first in enumerate(FIRST):
    np.testing.assert_array_equal(logits[:, slot, first : first + G], options[:, slot])
    barred = np.delete(logits[:, slot], [*range(first, first + G), 2 * G], axis=-1)
    assert barred.max() < -1e8
  np.testing.assert_array_equal(logits[:, :, 2 * G], others[..., 0])


def test_other_words():
  assert Options(FIRST, G).others(W).tolist() == [8]
  assert Options((0,), 3).others(3).tolist() == []
  assert Options((1,), 2).others(4).tolist() == [0, 3]


@pytest.mark.parametrize('seed', [0, 1])
def test_chosen_words_equal_a_plain_loop(seed):
  logits = random_logits(seed)
  found = np.asarray(jax.jit(lambda x: chosen_words(x, Options(FIRST, G)))(logits))
  assert found.tolist() == [by_hand(row) for row in np.asarray(logits)]
  assert (found == 2 * G).any()
  assert (found != 2 * G).all(axis=1).any()


def test_one_slot_without_other_words():
  logits = jnp.array([[[0.0, 3.0, 1.0]], [[2.0, 1.0, 0.0]]])
  assert chosen_words(logits, Options((0,), 3)).tolist() == [[1], [0]]


def test_fewer_options_than_slots():
  """A list that has named every option ends; it needs a word for that."""
  options = Options((0, 0, 0), 2)
  logits = spread_options(jnp.ones((1, 3, 2)), jnp.zeros((1, 3, 1)), options, 3)
  assert sorted(chosen_words(logits, options)[0].tolist()) == [0, 1, 2]
