"""docs/own_data.md: its commands as they stand, with a small decoder and few steps."""

import json
import pathlib
import re

import pytest

from examples.books.books_task import BOOKS
from persoma_tf import testing
from pipelines.predictions import prediction_files
from tasks.questions import question_of_config
from tests.commands import run, shown

ROOT = pathlib.Path(__file__).parents[2]
PAGE, IMPLEMENTATION = (
  (ROOT / 'docs' / name).read_text() for name in ('own_data.md', 'implementation.md')
)
COMMANDS = [
  command
  for command in shown(ROOT / 'docs' / 'own_data.md')
  if command.program == 'python' and command.words[2] != 'pipelines.try_dataset'
]
MODULES = (
  *('examples.books.make_data', 'pipelines.inspect', 'pipelines.build_histories'),
  *('pipelines.embed_items', 'persoma_tf.train', 'pipelines.batch_predict'),
  'pipelines.evaluate',
)
DATASET = 'examples/books/books.yaml'


def blocks(kind: str, page: str = PAGE) -> list[str]:
  """A page's code blocks of a kind."""
  return re.findall(rf'^```{kind}\n(.*?)^```$', page, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope='module')
def books(tmp_path_factory):
  """What the commands of the page wrote, `runs/books` there; with small models."""
  folder = tmp_path_factory.mktemp('books')
  small = {
    'persoma_tf.train': testing.small_flags(testing.write_decoder(folder / 'decoder')),
    'pipelines.embed_items': [f'--encoder={testing.write_encoder(folder / "encoder")}'],
  }
  own = folder / 'books.yaml'
  text = (ROOT / DATASET).read_text()
  own.write_text(text.replace('../../runs/books/data', 'data'))
  for command in COMMANDS:
    words = tuple(
      word.replace('runs/books', str(folder)).replace(DATASET, str(own))
      for word in command.words
    )
    run(command._replace(words=words), *small.get(words[2], ()))
  return folder


def info(folder) -> dict:
  return json.loads((folder / 'histories' / 'dataset_info.json').read_text())


def test_the_page_has_all_steps_and_the_files_as_they_are():
  assert [command.words[2] for command in COMMANDS] == list(MODULES)
  example = ROOT / 'examples' / 'books'
  (test,), (task,) = blocks('python'), blocks('python', IMPLEMENTATION)
  assert 'run_chain' in test  # tests/pipelines/test_try_dataset.py runs it
  assert (example / 'books_task.py').read_text().endswith(f'\n\n{task}')
  dataset, like, *_ = blocks('yaml')
  assert (ROOT / DATASET).read_text().endswith(f'keys.\n{dataset}')
  assert like in (example / 'like.yaml').read_text()


def test_rows_in_are_rows_kept_and_rejected(books):
  counts = info(books)['counts']
  kept, rejected = counts['rows_kept'], counts['rows_rejected']
  dropped = sum(counts['rows_dropped'].values())
  assert counts['rows_in'] == kept + rejected + dropped
  said = f'{counts["rows_in"]:,} rows read, {kept:,} kept, {rejected} rejected'
  assert said in PAGE
  lines = (books / 'data' / 'ratings.csv').read_text().splitlines()
  assert counts['rows_in'] == len(lines) - 1
  bound = info(books)['statistics']['rule_on_sample']['test']['f1']
  assert f'Here it is {bound:.2f} for the test users' in PAGE


def test_labels_are_those_of_the_page(books):
  rule = info(books)['label_rule']
  assert (rule['top'], rule['liked_above'], rule['disliked_below']) == (2, 3.8, 2.8)
  assert 'Science Fiction' in info(books)['genres']
  encoder = json.loads((books / 'embeddings' / 'encoder_info.json').read_text())
  assert encoder['text_templates'] == info(books)['dataset']['texts']


def test_answers_in_the_new_words(books):
  rows = prediction_files.read_predictions(str(books / 'predictions'), 'avro')
  about = json.loads((books / 'predictions' / 'run_info.json').read_text())
  users = info(books)['counts']['users']['test']
  assert len(rows) + about['rejects'] == users > 0
  genres = info(books)['genres']
  for row in rows:
    liked, disliked = row['predicted_liked'], row['predicted_disliked']
    assert row['text'].startswith('The reader enjoys ')
    assert row['parse_ok']
    assert BOOKS.parse(row['text'], genres)[:2] == (tuple(liked), tuple(disliked))
    assert BOOKS.answer(liked, disliked) == row['text']
    assert row['task'] == 'book_subjects_v1'


def test_the_model_knows_its_task_and_the_report_is_there(books):
  config = (books / 'model' / 'config.gin').read_text()
  assert "own_question.name = 'book_subjects_v1'\n" in config
  assert question_of_config(config) == BOOKS
  methods = json.loads((books / 'report' / 'metrics.json').read_text())['methods']
  assert methods['persoma']['users'] == info(books)['counts']['users']['test']
  assert methods['persoma']['parse_failures'] == 0
  assert methods['rule_on_sample']['f1'] > 0.9
