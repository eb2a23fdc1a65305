"""Examples of a text: the words of its draft, and which of them an answer has."""

import collections
import dataclasses
import json
import shutil

import gin
import jax
import numpy as np
import pytest
import seqio

from persoma_tf import recipes
from persoma_tf.gin_settings import settings
from persoma_tf.training import batching
from persoma_tf.training.answer_vocabulary import target_words, vocabulary_of
from persoma_tf.training.training_run import Recipe, TrainingRun
from tasks import dataset_question, text_prediction
from tests import choices

NAME = 'book_words_v1'
TEXTS = ('quiet lives', 'quiet wars and verses', 'poems', 'old wars', 'old wars')
WORDS = {
  'kind': 'text',
  'prompt': '\nA name for it:',
  'fields': ['asked_because'],
  'asks_item': False,
  'max_tokens': 16,
}


@pytest.fixture(scope='module')
def answered(choice_folder, tmp_path_factory):
  """(folder of a choice whose answers are TEXTS, texts by example). Read only."""
  folder, texts = tmp_path_factory.mktemp('texts'), {}
  shutil.copytree(choice_folder[0], folder, dirs_exist_ok=True)
  place = folder / 'histories' / 'questions'
  shutil.move(place / choices.NAME, place / NAME)
  for split, rows in choice_folder[1].items():
    named = [
      row | {'answer': [TEXTS[at % len(TEXTS)]] if row['answer'] else []}
      for at, row in enumerate(rows)
    ]
    choices.write_examples(place / NAME, split, named, WORDS)
    if split == 'train':
      texts = {x['example_id']: x['answer'][0] for x in named if x['answer']}
  file = folder / 'histories' / 'dataset_info.json'
  info = json.loads(file.read_text())
  info['dataset']['questions'] = {NAME: WORDS}
  for about in (info['counts']['examples'], info['examples']):
    about[NAME] = about.pop(choices.NAME)
  file.write_text(json.dumps(info))
  return folder, texts


@pytest.fixture
def recipe(answered):
  """Parses the recipe of a text for the small parts; with bindings."""

  def parse(*bindings: str) -> None:
    gin.clear_config()
    small = choices.settings_of(answered[0])
    recipes.parse_recipes(['runs/text.gin'], [*small, *bindings])

  return parse


def examples():
  lengths = text_prediction.text_lengths()
  task = seqio.get_mixture_or_task('text_v1')
  made = task.get_dataset(lengths, 'train', shuffle=False)
  return {x['example_id'].decode(): x for x in made.as_numpy_iterator()}


def test_a_draft_has_the_first_words_of_the_training(recipe, answered):
  recipe('text_slots.number = 2', 'text_words.most = 4')
  counts = collections.Counter(
    word for text in answered[1].values() for word in text.split()[:2]
  )
  expected = sorted(counts, key=lambda word: (-counts[word], word))[:4]
  assert list(text_prediction.text_words()) == expected
  assert 'and' not in counts, 'the third word'
  assert settings(gin.config_str())['text_words.words'] == {NAME: tuple(expected)}
  form = text_prediction.text_template()
  assert list(form.parts) == ['A name for it:', None, None]
  assert list(form.words) == ['.', *(f' {word}' for word in expected)]


def test_labels_are_the_words_that_the_draft_has(recipe, answered):
  words = 'wars', 'quiet', 'old'
  recipe('text_slots.number = 3', f"text_words.words = {{'{NAME}': {words}}}")
  rows = examples()
  assert rows.keys() == answered[1].keys()
  known = {'': 0, 'wars': 1, 'quiet': 2, 'old': 3}
  for name, text in answered[1].items():
    expected = [known.get(word, -1) for word in (*text.split(), '', '')[:3]]
    assert rows[name]['answer_slots'].tolist() == expected
  recipe('text_lengths.slots = 0')
  assert 'answer_slots' not in text_prediction.text_lengths()
  assert rows.keys() == examples().keys()


def test_batches_for_training(recipe):
  recipe()
  lengths = text_prediction.text_lengths()
  batch = next(batching.training_batches('text_v1', 'train', lengths, 6, 0))
  assert batch['answer_slots'].shape == (6, 4)
  as_text = 'text_lengths.slots = 0', 'history_limits.text_tokens = 200'
  recipe(*as_text, 'train.vector_tables = ()')
  lengths = text_prediction.text_lengths()
  batch = next(batching.training_batches('text_text_v1', 'train', lengths, 6, 0))
  assert 'answer_slots' not in batch
  assert (batch['encoder_input_tokens'] > 0).sum() > 6 * 20


@pytest.mark.parametrize('categories', [True, False])
def test_categories_ask_the_history(recipe, categories):
  recipe(*([] if categories else ['choice_categories.number = 0']))
  run = TrainingRun(Recipe())
  draft = run.model.adapter.draft
  number = gin.query_parameter('choice_categories.number')
  assert draft.num_options == (number if categories else 16) > 0
  assert (draft.of_categories, draft.hard) == (categories, False)
  history = np.zeros((2, 3, 5), np.float32), np.ones((2, 3), np.int32)
  soft, _ = draft.init_with_output(jax.random.key(0), *history, 8)
  words = 1 + len(text_prediction.text_words())
  assert soft.slot_logits.shape == (2, 4, words)
  assert run.option_tokens.shape[:3] == (1, 2, words)


@pytest.mark.parametrize('prompt', ['A name for it:', 'A name for it:\n'])
def test_words_as_targets(recipe, prompt, monkeypatch):
  """The first word follows the prompt, and the last one the text's other words."""
  recipe(f"text_words.words = {{'{NAME}': ('wars', 'quiet')}}")
  question = dataclasses.replace(dataset_question.asked_about_examples(), prompt=prompt)
  monkeypatch.setattr(text_prediction, 'asked_about_examples', lambda: question)
  vocabulary = vocabulary_of('text_v1')
  form = text_prediction.text_template()
  words = [vocabulary.encode(word) for word in form.words]
  first, later = target_words(form, words, 'text_v1')
  answer = question.answer_tokens('quiet wars', vocabulary.encode)
  assert first[2] == answer[: len(first[2])]
  assert later[1] == answer[len(first[2]) :]
  assert first[0] == later[0] == [vocabulary.eos_id]


def test_a_word_without_tokens_is_zero(recipe):
  recipe(f"text_words.words = {{'{NAME}': ('wars', 'quiet')}}")
  run = TrainingRun(Recipe())
  run._words[1] = []
  words = run.fresh_params()['adapter']['draft']['words']
  assert np.isfinite(words).all()
  assert (words.any(axis=1) == [True, False, True]).all()
