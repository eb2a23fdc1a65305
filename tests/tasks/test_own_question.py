"""The tasks of a question that is not MovieLens's."""

import json

import numpy as np
import pytest
import seqio

from examples.books.books_task import BOOKS
from persoma_tf.training import batching
from tasks import genre_prediction, histories, labels, task_features, text_history
from tasks.vocabularies import VOCABULARY
from tests.histories import build
from tests.tiny import write_embeddings

pytestmark = pytest.mark.assets
ASKED = f'question.name = {BOOKS.name!r}'
RULE = labels.LabelRule(min_count=2, liked_above=3.8, disliked_below=2.8, top=2)
NOUNS = {'item': 'book', 'genres': 'subjects', 'rating': 'points'}


@pytest.fixture(scope='module')
def books(tiny, tmp_path_factory):
  """Bindings for histories of another label rule, and texts with other nouns."""
  folder = tmp_path_factory.mktemp('books')
  flags = ['--max_history=30', '--train_fraction=0.6', '--label_min_count=2']
  flags += ['--label_liked_above=3.8', '--label_disliked_below=2.8', '--label_top=2']
  build(tiny, folder / 'histories', *flags)
  embeddings = write_embeddings(folder / 'histories', folder / 'embeddings')
  info = embeddings / 'encoder_info.json'
  info.write_text(json.dumps(json.loads(info.read_text()) | {'nouns': NOUNS}))
  return [
    f"HISTORIES_DIR = '{folder}/histories'",
    f"EMBEDDINGS_DIR = '{embeddings}'",
    ASKED,
  ]


def test_parts_have_its_words_and_the_rule_of_the_histories(recipe, books):
  recipe(*books)
  genres = histories.load_genres(histories.data_folders().histories_dir)
  parts, limits = BOOKS.task('subhistories'), genre_prediction.feature_lengths()
  batch = next(batching.training_batches(parts, 'train', limits, 32, seed=0))
  assert batch['answer_slots'].shape == (32, 4)
  assert VOCABULARY.decode(batch['encoder_input_tokens'][0].tolist()) == BOOKS.prompt
  none = 2 * len(genres.names)
  for row, slots in enumerate(batch['answer_slots']):
    tokens = batch['decoder_target_tokens'][row]
    text = VOCABULARY.decode(tokens[batch['decoder_loss_weights'][row] > 0].tolist())
    answer = BOOKS.parse(text, genres.names)
    assert answer.ok
    liked, disliked = ([x for x in side if x < none] for side in np.split(slots, 2))
    assert [genres.names[x] for x in liked] == list(answer.liked)
    found = [genres.names[x - len(genres.names)] for x in disliked]
    assert found == list(answer.disliked)
    means, counts = np.split(batch['history_statistics'][row], 2)
    often = np.round(np.expm1(counts)) >= RULE.min_count
    above = set(np.flatnonzero(often & (means + 3 > RULE.liked_above + 1e-6)))
    assert set(liked) <= above
    assert len(liked) == min(RULE.top, len(above))


def test_its_template(recipe, books):
  recipe(*books)
  template = genre_prediction.answer_template()
  assert list(template.parts) == list(BOOKS.parts)
  assert template.words[-1] == ' nothing in particular'


def test_an_answer_of_nothing_fits(recipe, books):
  """Its word for none is longer than most genres."""
  recipe(*books)
  empty = VOCABULARY.encode(BOOKS.answer([], []))
  assert len(empty) < genre_prediction.feature_lengths()['targets']


def test_history_as_text_has_the_nouns_of_the_embeddings(recipe, books):
  recipe(*books, 'history_limits.text_tokens = 150')
  task = seqio.get_mixture_or_task(BOOKS.task('text'))
  lengths = genre_prediction.feature_lengths()
  dataset = task.get_dataset(lengths, 'test', shuffle=False).take(1)
  (row,) = dataset.as_numpy_iterator()
  first, *_, blank, prompt, end = VOCABULARY.decode(row['inputs'].tolist()).split('\n')
  assert first.startswith('The book ')
  assert ' is listed with subjects ' in first
  assert first.endswith(' points')
  assert [blank, prompt, end] == ['', 'Subjects:', '']


def test_the_recipe_must_ask_what_the_task_is_of(recipe, books):
  name = 'movielens_genre_prediction_subhistories_v1'
  for bindings, task in ((books, name), (books[:2], BOOKS.task('subhistories'))):
    recipe(*bindings, 'TemplateReadout.hidden = 16')
    lengths = dict.fromkeys(task_features.FEATURES, 64)
    with pytest.raises(ValueError, match=r'expected question\.name = .* in the recipe'):
      next(batching.training_batches(task, 'train', lengths, 4, seed=0))


def test_histories_of_another_rule_are_refused(recipe, folders):
  recipe(ASKED)  # of histories with up to three genres on a side
  with pytest.raises(ValueError, match='--label_top=2, or ask a Question with most=3'):
    genre_prediction.feature_lengths()
  assert text_history.load_interactions(str(folders[0])), 'needs no question'
