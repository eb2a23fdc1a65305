"""Answers as text and back."""

import pytest

from tasks import prompts

GENRES = ('Action', 'Drama', 'Sci-Fi', 'War')


@pytest.mark.parametrize('liked', [(), ('War',), ('War', 'Sci-Fi', 'Drama')])
@pytest.mark.parametrize('disliked', [(), ('Action',)])
def test_round_trip(liked, disliked):
  text = prompts.answer_text(liked, disliked)
  assert prompts.parse_answer(text, GENRES) == (liked, disliked, True)


def test_words():
  assert (
    prompts.answer_text(['War', 'Drama'], [])
    == "The user likes War, Drama and doesn't like none"
  )


@pytest.mark.parametrize(
  ('text', 'liked', 'disliked'),
  [
    ('', (), ()),
    ('The user likes War', (), ()),
    ("The user likes Wars, War and doesn't like none", ('War',), ()),
    ("The user likes none, War and doesn't like Drama", ('War',), ('Drama',)),
    ("The user likes war and doesn't like none", (), ()),
  ],
)
def test_what_cannot_be_read_is_not_ok(text, liked, disliked):
  assert prompts.parse_answer(text, GENRES) == (liked, disliked, False)


def test_repeats_and_spaces():
  text = " The user likes War,War ,Drama and doesn't like none. "
  assert prompts.parse_answer(text, GENRES) == (('War', 'Drama'), (), True)


def test_template_reads_like_an_answer():
  parts = [' War' if part is None else part for part in prompts.ANSWER_PARTS]
  assert ''.join(parts) == prompts.answer_text(['War'] * 3, ['War'] * 3)
