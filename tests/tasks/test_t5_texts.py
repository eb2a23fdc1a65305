"""What the task says and reads, in the pieces of T5's real vocabulary."""

import itertools

import pytest
import tensorflow as tf

from tasks import interaction_texts, questions, vocabularies

# All of MovieLens.
GENRES = (
  *('Action', 'Adventure', 'Animation', 'Children', "Children's", 'Comedy', 'Crime'),
  *('Documentary', 'Drama', 'Fantasy', 'Film-Noir', 'Horror', 'IMAX', 'Musical'),
  *('Mystery', 'Romance', 'Sci-Fi', 'Thriller', 'War', 'Western'),
)


@pytest.fixture
def vocabulary(t5_pieces):
  return vocabularies.load_vocabulary(str(t5_pieces))


def test_answers_are_read_back(vocabulary):
  """Every genre on each side, and sides of no genre to three."""
  pairs = list(itertools.pairwise(GENRES))
  answers = [((first,), (second,)) for first, second in pairs]
  answers += [(GENRES[i : i + 3], GENRES[-i - 3 : -i]) for i in range(1, 8)]
  answers += [((), ()), ((), GENRES[:2]), (GENRES[:3], ())]
  for liked, disliked in answers:
    text = questions.MOVIELENS.answer(liked, disliked)
    ids = vocabulary.encode(text)
    assert vocabulary.unk_id not in ids
    assert vocabulary.pad_id not in ids, 'padding can be told by its id'
    assert vocabulary.encode_tf(tf.constant(text)).numpy().tolist() == ids
    ended = vocabulary.decode([*ids, vocabulary.eos_id, *ids])
    assert questions.MOVIELENS.parse(ended, GENRES) == (liked, disliked, True)


def test_prompt_and_interactions(vocabulary):
  """T5 has no piece for the end of a line; everything else it can say."""
  assert vocabulary.decode(vocabulary.encode(questions.TASK_PROMPT)) == 'Genres:'
  for rating in (0.5, 4.0):
    text = interaction_texts.interaction_sentence(
      'The movie Amélie (2001) has genres Comedy, Romance', rating
    )
    assert vocabulary.decode(vocabulary.encode(text)) == text
  # T5's id 0 pads and starts an answer, as the decoder protocol has it.
  assert (vocabulary.pad_id, vocabulary.eos_id) == (0, 1)
