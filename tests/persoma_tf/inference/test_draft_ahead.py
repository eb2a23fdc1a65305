"""The tokens of drafts that are read ahead, and when none are."""

import numpy as np
import pytest

from persoma_tf.inference.answer_rows import Task
from persoma_tf.inference.decoding_settings import Decoding
from persoma_tf.inference.draft_ahead import DraftAhead
from tests.persoma_tf.inference.test_generate import GRAMMAR, shared_case

EOS = 7
ANSWERS = {(0,): [11, 3, 5, 4], (1,): [11, 8], (2,): [11, 3, 5, 4, 5, 8, 5]}


def ahead(name='llama', drafted=ANSWERS.get, decoding=Decoding(), most=9):  # noqa: B008
  task = Task(EOS, most, GRAMMAR, drafted=drafted)
  return DraftAhead(shared_case(name).model, task, decoding)


def test_tokens_behind_those_that_all_answers_have():
  found = ahead().tokens([[0], [1], [2]])
  assert found.tolist() == [[3, 5, 4, EOS], [8, EOS, EOS, EOS], [3, 5, 4, 5]]
  assert found.dtype == np.int32
  free = Task(EOS, 9, drafted=ANSWERS.get)
  found = DraftAhead(shared_case().model, free, Decoding()).tokens([[1]])
  assert found.tolist() == [[11, 8, EOS, EOS]]


@pytest.mark.parametrize(
  'changes',
  [
    {'name': 't5'},
    {'drafted': None},
    {'decoding': Decoding(beams=2)},
    {'decoding': Decoding(temperature=1.0)},
    {'most': 4},  # short answers
  ],
)
def test_nothing_is_read_ahead(changes):
  assert ahead(**changes).tokens([[0], [1]]) is None


def test_many_rows_of_a_cpu_and_soft_prompts_without_drafts():
  assert len(ahead().tokens([[0]] * 32)) == 32
  assert ahead().tokens([[0]] * 33) is None
  assert ahead().tokens(None) is None
