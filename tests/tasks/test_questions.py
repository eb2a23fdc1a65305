"""Answers as text and back."""

import gin
import pytest

from tasks import questions
from tasks.dataset_question import asked_question

QUESTION = questions.MOVIELENS
GENRES = ('Action', 'Drama', 'Sci-Fi', 'War')


@pytest.mark.parametrize('liked', [(), ('War',), ('War', 'Sci-Fi', 'Drama')])
@pytest.mark.parametrize('disliked', [(), ('Action',)])
def test_round_trip(liked, disliked):
  text = QUESTION.answer(liked, disliked)
  assert QUESTION.parse(text, GENRES) == (liked, disliked, True)


def test_words():
  assert (
    QUESTION.answer(['War', 'Drama'], [])
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
  assert QUESTION.parse(text, GENRES) == (liked, disliked, False)


def test_repeats_and_spaces():
  text = " The user likes War,War ,Drama and doesn't like none. "
  assert QUESTION.parse(text, GENRES) == (('War', 'Drama'), (), True)


def test_template_reads_like_an_answer():
  parts = [' War' if part is None else part for part in QUESTION.parts]
  assert ''.join(parts) == QUESTION.answer(['War'] * 3, ['War'] * 3)


BOOKS = {
  'name': 'books_v1',
  'prompt': '\nSubjects:\n',
  'likes': 'The reader enjoys',
  'dislikes': ' and avoids',
  'none': 'nothing at all',
  'most': 2,
}


def test_other_words():
  books = questions.Question(**BOOKS)
  text = 'The reader enjoys War, Drama and avoids nothing at all'
  assert books.answer(['War', 'Drama'], []) == text
  assert books.parse(text, GENRES) == (('War', 'Drama'), (), True)
  assert not books.parse(QUESTION.answer(['War'], []), GENRES).ok
  filled = ''.join(' War' if part is None else part for part in books.parts)
  assert filled == books.answer(['War'] * 2, ['War'] * 2)
  row = books.row('7', text, -1.5, 9, GENRES)
  assert (row['predicted_liked'], row['task']) == (['War', 'Drama'], 'books_v1')
  assert books.task('text') == 'books_text_v1'


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('name', 'books'),
    ('prompt', ''),
    ('likes', 'The reader enjoys '),
    ('likes', ''),
    ('dislikes', 'and avoids'),
    ('dislikes', ' and avoids '),
    ('dislikes', ' '),
    ('none', 'no, none'),
    ('none', ''),
    ('most', 0),
  ],
)
def test_words_that_make_no_answer(field, value):
  with pytest.raises(ValueError, match=rf"^Question '.*': {field}=.*: expected "):
    questions.Question(**{**BOOKS, field: value})


@pytest.mark.parametrize(
  'name', ['Food, Wine', 'none', 'Sci.', ' War', "A and doesn't like B", '']
)
def test_genres_that_cannot_be_read_back(name):
  with pytest.raises(ValueError, match=f'genre {name!r} cannot be read back'):
    QUESTION.check((*GENRES, name), 3)


def test_labels_with_more_genres_than_an_answer():
  QUESTION.check(GENRES, 3)
  with pytest.raises(ValueError, match='--label_top=3, or ask a Question with most=4'):
    QUESTION.check(GENRES, 4)


def test_what_is_asked():
  assert asked_question() is QUESTION
  assert 'question' not in gin.operative_config_str(), 'as it was without a choice'
  questions.add_question(questions.Question(**BOOKS))
  questions.add_question(questions.Question(**BOOKS))  # the same again is no other
  with pytest.raises(ValueError, match='is already registered'):
    questions.add_question(questions.Question(**BOOKS | {'most': 3}))
  gin.parse_config("question.name = 'books_v1'")
  assert asked_question() == questions.Question(**BOOKS)
  assert "question.name = 'books_v1'" in gin.operative_config_str()
  gin.parse_config("question.name = 'films_v1'")
  with pytest.raises(ValueError, match=r"'films_v1': expected one of .*books_v1"):
    asked_question()


def test_the_question_of_a_model():
  config = "import {0}\nno_such.thing = @other()\nquestion.name = 'book_subjects_v1'\n"
  found = questions.question_of_config(config.format('examples.books.books_task'))
  assert found.likes == 'The reader enjoys'
  assert questions.question_of_config('train.seed = 0\n') is QUESTION
  macro = f"Q = '{found.name}'\nquestion.name = %Q\n"
  assert questions.question_of_config(macro) is found
  config = config.format('tasks.nowhere').replace('book_subjects', 'unknown')
  with pytest.raises(ValueError, match='unknown_v1'):
    questions.question_of_config(config)


def test_the_question_of_a_model_runs_nothing_of_it(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'evil_question.py').write_text("raise SystemExit('evil')\n")
  config = "import evil_question\nquestion.name = 'evil_v1'\n"
  with pytest.raises(ValueError, match='evil_question were not imported: name the one'):
    questions.question_of_config(config)
  calls = (
    'from __gin__ import dynamic_registration\nfrom tasks import questions\n'
    'import pathlib\npathlib.Path.touch.self = @pathlib.Path()\n'
    "questions.question.name = 'movielens_genre_prediction_v1'\n"
  )
  assert questions.question_of_config(calls) is QUESTION
