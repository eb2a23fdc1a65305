"""Texts in SentencePiece's vocabularies: parts of texts, and what cannot be written.

What is right comes from `sentencepiece` itself, on whole texts.
"""

import gin
import numpy as np
import pyarrow.parquet as pq
import pytest
import seqio
from sentencepiece import SentencePieceProcessor

from persoma_tf import recipes
from persoma_tf.soft_prompt import SLOT, AnswerTemplate
from persoma_tf.training.answer_vocabulary import bind_template
from tasks import (
  examples,
  genre_prediction,  # noqa: F401  registers the tasks
  interaction_texts,
  questions,
  task_features,
  text_history,
)
from tasks.history_columns import HistoryColumns
from tests import tiny as tiny_parts

QUESTION = questions.MOVIELENS
WORDS = [' War', ' Drama', ' none']
TASK = 'movielens_genre_prediction_text_subhistories_v1'
# Without tokens of bytes, whatever the training text lacks is unknown.
NO_BYTES = {'byte_fallback': False, 'vocab_size': 110}


@pytest.fixture
def pieces(tmp_path):
  """Makes a SentencePiece model, for the tasks and for `sentencepiece`."""

  def make(**settings):
    path = tmp_path / 'x.model'
    path.write_bytes(tiny_parts.train_sentence_piece(**settings))
    recipes.bind_parameter('task_vocabulary.decoder', str(path))
    return SentencePieceProcessor(model_file=str(path))

  return make


@pytest.fixture(params=['t5', 'dummy prefix', 'no prefix'])
def reference(request, pieces):
  if request.param != 't5':
    return pieces(add_dummy_prefix=request.param == 'dummy prefix')
  path = str(request.getfixturevalue('t5_pieces'))
  recipes.bind_parameter('task_vocabulary.decoder', path)
  return SentencePieceProcessor(model_file=path)


def test_a_template_has_the_tokens_of_a_whole_answer(reference):
  words = bind_template(AnswerTemplate(QUESTION.parts, WORDS), QUESTION.name)
  layout = gin.query_parameter('TemplateReadout.layout')
  for word, ids in zip(WORDS, words, strict=True):
    filled = [token for x in layout for token in (ids if x == SLOT else [x])]
    names = [word.strip()] * 3
    assert filled == reference.encode(QUESTION.answer(names, names))


def test_a_history_has_the_tokens_of_its_whole_text(pieces, folders):
  """Lines and task prompt follow a line's end, not the beginning of a text."""
  reference = pieces(add_dummy_prefix=True)
  table = pq.read_table(folders[0] / 'items.parquet')
  names, rows = interaction_texts.title_genres(table), np.arange(4)
  ratings = np.array([4.0, 3.5, 1.0, 5.0], np.float32)
  lines = [
    interaction_texts.interaction_sentence(names[row], rating) + '\n'
    for row, rating in zip(rows, ratings, strict=True)
  ]
  limits = text_history.HistoryLimits(items=9, text_tokens=1000)
  shown = HistoryColumns(rows, ratings)
  made = text_history.load_interactions(str(folders[0])).prompt(shown, limits)
  assert made.tolist() == reference.encode(''.join(lines) + QUESTION.prompt)


@pytest.mark.parametrize(
  ('settings', 'genre', 'message'),
  [
    (NO_BYTES, '電影', "genre '電影' .*: .* is read back as .*likes  ⁇  and doesn't"),
    ({'normalization_rule_name': 'nfkc'}, 'ﬁlm', "genre 'ﬁlm' .* as .*likes film and"),
    (
      {'normalization_rule_name': 'nfkc_cf'},
      'War',
      'question movielens_genre_prediction_v1 .* as "the user likes none and',
    ),
  ],
)
def test_what_cannot_be_written_is_refused(
  pieces, recipe, monkeypatch, settings, genre, message
):
  """Before the first step, for histories as text or vectors."""
  recipe('history_limits.text_tokens = 500')
  pieces(**settings)
  load = examples.load_genres
  renamed = lambda path: load(path)._replace(names=(genre, *load(path).names[1:]))
  monkeypatch.setattr(examples, 'load_genres', renamed)
  lengths = dict.fromkeys(task_features.FEATURES, 600)
  for task in (TASK, QUESTION.name):
    with pytest.raises(ValueError, match=message) as caught:
      seqio.get_mixture_or_task(task).get_dataset(lengths, 'train', shuffle=False)
    assert 'cannot be written with the vocabulary /' in str(caught.value)
    assert 'x.model: ' in str(caught.value)


def test_a_prompt_with_unknown_words_is_told(pieces, folders, caplog):
  pieces(**NO_BYTES)
  limits = text_history.HistoryLimits(items=9, text_tokens=1000)
  shown = text_history.load_interactions(str(folders[0]))
  for item in range(3):  # the sentences have digits, the vocabulary has none
    one = HistoryColumns(np.array([item]), np.array([4.0], np.float32))
    shown.prompt(one, limits)
  (message,) = [x.getMessage() for x in caplog.records if 'no token' in x.getMessage()]
  assert 'x.model has no token for a part of' in message
