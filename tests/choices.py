"""Folders with the examples of a choice, made of the histories of a dataset file."""

import json
import pathlib
import shutil
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from examples.books import make_data
from persoma_tf import testing
from pipelines import build_histories, embed_items
from pipelines.common import tfrecord
from pipelines.histories import history_records, tf_example
from pipelines.histories.item_factors import UserItems, factorize, with_factors
from pipelines.histories.value_sums import with_value_sums
from tasks import schema
from tasks.user_folds import FOLDS, fold_of
from tests.pipelines.dataset.test_dataset_file import TEXT

NAME = 'book_like_v1'
WORDS = {
  'kind': 'choice',
  'prompt': '\n{asked_because}: will the reader like {title}[ by {author}]?\nAnswer:',
  'options': ['Yes', 'No'],
  'fields': ['asked_because'],
  'asks_item': True,
}


def examples_of(history: dict, last: int, fields: tuple[str, ...]) -> Iterator[dict]:
  """A user's last events as examples, each with the history strictly before it.

  Every seventh has no answer.
  """
  times = history['history_timestamps']
  for place in range(min(last, len(times) - 1)):
    before = times < times[place]
    liked = history['history_ratings'][place] > 3
    answered = (int(history['history_items'][place]) + place) % 7 > 0
    yield {
      'example_id': f'{history["user_id"]}-{place}',
      'user_id': history['user_id'],
      'example_time': [int(times[place])],
      'example_item': [int(history['history_items'][place])],
      'answer': [['No', 'Yes'][int(liked)]] if answered else [],
      **{
        name: history[name][before]
        for name in ('history_items', 'history_ratings', 'history_timestamps')
      },
      'history_total': int(before.sum()),
      **{f'field_{name}': [f'because {place}'] * (place % 2) for name in fields},
    }


def encoded(rows: list[dict], fields: tuple[str, ...]) -> list[bytes]:
  """Examples as records."""
  kinds = schema.example_kinds(fields)
  return [
    tf_example.encode_example_features(
      {
        name: (kind, [row[name]] if name in schema.SCALARS else row[name])
        for name, kind in kinds.items()
      }
    )
    for row in rows
  ]


def add_choice(
  folder: pathlib.Path, name: str = NAME, words: dict = WORDS, last: int = 3
) -> dict[str, list[dict]]:
  """Puts examples of a choice into a folder of histories; returns them by split."""
  made, place = {}, folder / 'questions' / name
  place.mkdir(parents=True)
  items = pq.read_table(folder / 'items.parquet').select(
    schema.ITEMS.names + ['fields']
  )
  sums, owned = np.zeros((2, len(items), FOLDS)), []
  for split in schema.SPLITS:
    histories = [
      history
      for path in history_records.list_history_files(str(folder), split)
      for history in history_records.read_history_file(path)
    ]
    for history in histories if split == 'train' else ():
      fold = fold_of(history['user_id'].encode())
      sums[0, history['history_items'], fold] += history['history_ratings']
      sums[1, history['history_items'], fold] += 1
      of_user = np.unique(history['history_items'])
      owned.append(UserItems(np.array([fold]), np.array([len(of_user)]), of_user))
    made[split] = [x for h in histories for x in examples_of(h, last, words['fields'])]
    write_examples(place, split, made[split], words)
  items = with_factors(with_value_sums(items, sums), factorize(owned, len(items)))
  pq.write_table(items, folder / 'items.parquet')
  file = folder / 'dataset_info.json'
  info = json.loads(file.read_text())
  info['dataset']['questions'] = {name: words, **info['dataset']['questions']}
  counts = {split: len(rows) for split, rows in made.items()}
  info['counts'].setdefault('examples', {})[name] = counts
  answers = {
    split: Counter((*x['answer'], '')[0] for x in made[split]) for split in made
  }
  info.setdefault('examples', {})[name] = {'answers': answers}
  file.write_text(json.dumps(info))
  return made


def write_examples(
  place: pathlib.Path, split: str, rows: list[dict], words: dict = WORDS
) -> None:
  """Writes the examples of a split as two files."""
  half = len(rows) // 2
  for number, part in enumerate((rows[:half], rows[half:])):
    path = place / f'{split}-{number:05}-of-00002.tfrecord'
    records = pa.array(encoded(part, words['fields']), pa.binary())
    path.write_bytes(tfrecord.frame_records(records))


def only_choices(folder: pathlib.Path) -> None:
  """Leaves only the choices in a folder of histories: no labels, no categories."""
  for path in folder.glob('*.tfrecord*'):
    path.unlink()
  file = folder / 'dataset_info.json'
  info = json.loads(file.read_text())
  stored = info['dataset']['questions'].items()
  info['dataset']['questions'] = {x: y for x, y in stored if y.get('kind')}
  file.write_text(json.dumps(info | {'genres': [], 'label_rule': None}))
  items = pq.read_table(folder / 'items.parquet')
  none = pa.array([[]] * len(items), items.schema.field('genres').type)
  column = items.schema.get_field_index('genres')
  items = items.set_column(column, items.schema.field('genres'), none)
  pq.write_table(items, folder / 'items.parquet')


def write_choice(folder: pathlib.Path, readers: int = 40) -> dict[str, list[dict]]:
  """Writes `histories` with examples of a choice, `embeddings`, `small_decoder`.

  Returns:
    The examples of each split.
  """
  make_data.write(folder / 'data', readers=readers, count=30, seed=0)
  text = TEXT.replace('../../runs/books/data', 'data')
  (folder / 'books.yaml').write_text(text)
  flags = [f'--dataset={folder}/books.yaml', f'--output_dir={folder}/histories']
  build_histories.run(flags)
  encoder = testing.write_encoder(folder / 'small_encoder')
  embed_items.run(
    [
      f'--histories_dir={folder}/histories',
      f'--encoder={encoder}',
      f'--output_dir={folder}/embeddings',
    ]
  )
  testing.write_decoder(folder / 'small_decoder')
  shutil.rmtree(folder / 'data')
  return add_choice(folder / 'histories')


def settings_of(folder: pathlib.Path) -> list[str]:
  """Bindings of a recipe on the folder of `write_choice`."""
  return [
    f'HISTORIES_DIR = {str(folder / "histories")!r}',
    f'EMBEDDINGS_DIR = {str(folder / "embeddings")!r}',
    f'DECODER = {str(folder / "small_decoder")!r}',
    *testing.SMALL_RECIPE,
  ]


def by_id(examples: list[dict]) -> dict[str, dict]:
  """Examples by their id."""
  return {example['example_id']: example for example in examples}


def strictly_before(example: dict) -> bool:
  """Tells whether the history of an example ends before it."""
  return bool(np.all(example['history_timestamps'] < example['example_time'][0]))
