"""What engines wrote is compared by row, and the peer's form is that of the answers."""

import re

import pytest

from benchmarks import serving
from tasks import questions


def test_the_form_of_the_peer():
  question, genres = questions.MOVIELENS, ["Children's", 'Sci-Fi', 'War']
  form = re.compile(serving.regex_of(question, genres))
  for liked, disliked in ((genres, []), ([], ['War']), (['War'], genres[:2])):
    assert form.fullmatch(question.answer(liked, disliked))
  for wrong in (question.answer([*genres, 'War'], []), question.answer(['Jazz'], [])):
    assert not form.fullmatch(wrong)


def test_rows_are_compared_with_their_kind():
  row = lambda speed, answers: {'users': 2, 'users_a_second': speed, 'answers': answers}
  found = serving.about(
    {
      'jax, free, float32': row(4, 'a b'),
      'jax, kept, bfloat16': row(30, 'a b'),
      'vllm, free, float32': row(2, 'a b'),
      'bare_vllm, kept, bfloat16': row(20, 'a c'),
      'bare_vllm, free, bfloat16': row(10, 'a c'),
      'text, N=10, bfloat16': row(1, 'd e'),
    }
  )
  assert found['same_answers'] == {
    'vllm, free, float32': '2 of 2',
    'bare_vllm, free, bfloat16': '1 of 2',
  }
  ratios = found['ratios']
  assert ratios['jax, kept, bfloat16 / bare_vllm, kept, bfloat16'] == pytest.approx(1.5)
  assert ratios['jax, kept, bfloat16 / text, N=10, bfloat16'] == 30
  assert ratios['jax, free, float32 / vllm, free, float32'] == 2
  assert 'jax, free, float32 / text, N=10, bfloat16' not in ratios
