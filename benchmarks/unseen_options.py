"""F1 of options that training never saw, beside a word match and a cosine of texts.

    python -m benchmarks.unseen_options [--seeds=0,1,2] [--work_dir=runs/unseen]

For each seed, four genres of MovieLens-100K are drawn and taken out of the movies that
the training knows: out of its answers and its categories. Option queries that are made
from texts are then asked which of the four genres the test users like and dislike, with
nothing but the vectors of their names. Once the texts of the movies name all their
genres, once they are titles alone. The truth is the label rule on the four genres.

Beside it: the label rule on the genres whose name stands in the movie's text (word
match), and on those with a similar vector (cosine; its threshold is the best one for
the genres of the training). Only drafts are scored, no decoder runs. The same model is
asked for the genres of its training, too.
"""

import argparse
import functools
import json
import os
import pathlib
import platform
import re
import time

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.quality import run
from persoma_tf import assets, encoders
from persoma_tf.adapters.option_texts import with_options
from persoma_tf.answer_form import Options
from persoma_tf.answer_template import chosen_words
from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common import job
from pipelines.report.run_results import read_genres, read_split
from tasks import baselines, item_vectors, metrics
from tasks.baselines import UserSamples
from tasks.history_columns import HistoryColumns
from tasks.interaction_texts import title_genres, title_with_year
from tasks.labels import LabelRule
from tasks.predictor import Predictor
from tasks.questions import MOVIELENS

_SHOWN = 100  # newest interactions of a user, as in the quickstart
_UNSEEN = 4
_TITLES = ('genres', 'titles')  # what the texts of the movies tell


def main() -> None:
  """Measures and writes the results."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--work_dir', default='runs/unseen')
  flags = parser.parse_args()
  work, rows = pathlib.Path(flags.work_dir), []
  histories(work / 'all', assets.path('ml-100k') / 'ml-100k.item')
  for seed in map(int, flags.seeds.split(',')):
    for texts in _TITLES:
      rows += measure(work, texts, seed)
  path = pathlib.Path(__file__).parent / 'results' / 'unseen_options.json'
  about = {
    'command': f'python -m benchmarks.unseen_options --seeds={flags.seeds}',
    'date': time.strftime('%Y-%m-%d'),
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions('jax', 'flax'),
    'N': _SHOWN,
    'results': rows,
  }
  path.write_text(json.dumps(about, indent=2) + '\n')
  print(path)


def histories(folder: pathlib.Path, movies: pathlib.Path) -> None:
  """Makes long histories and embeddings of MovieLens-100K with these movies."""
  run(
    'pipelines.build_histories',
    f'--ratings={assets.path("ml-100k") / "ml-100k.inter"}',
    f'--movies={movies}',
    f'--output_dir={folder / "histories"}',
    '--sampler=recency',
    '--max_history=1000',
    '--train_fraction=0.7',
    '--validation_fraction=0.1',
  )
  run(
    'pipelines.embed_items',
    f'--histories_dir={folder / "histories"}',
    f'--output_dir={folder / "embeddings"}',
  )


def without_genres(names: list[str], path: pathlib.Path) -> None:
  """Writes the movies of MovieLens-100K without these genres."""
  head, *lines = (assets.path('ml-100k') / 'ml-100k.item').read_text().splitlines()
  written = [head]
  for line in lines:
    *fields, listed = line.split('\t')
    kept = [name for name in listed.split(' ') if name not in names]
    written.append('\t'.join([*fields, ' '.join(kept)]))
  path.write_text('\n'.join(written) + '\n')


@functools.cache
def encoder() -> encoders.Encoder:
  """The encoder of all texts."""
  return encoders.load_encoder('all-MiniLM-L6-v2')


def item_texts(folder: pathlib.Path, kind: str) -> list[str]:
  """Texts of the movies, with all their genres or as titles alone."""
  items = pq.read_table(folder / 'histories/items.parquet')
  if kind == 'genres':
    return title_genres(items)
  return [f'The movie {title_with_year(row)}' for row in items.to_pylist()]


def set_vectors(folder: pathlib.Path, texts: list[str]) -> np.ndarray:
  """Gives the movies of an embeddings folder the vectors [I, H'] of other texts."""
  vectors = encoder().encode(texts)
  path = folder / 'embeddings/embeddings.parquet'
  table = pq.read_table(path)
  kind = table.schema.field('title_genres').type
  column = pa.array(list(vectors), kind)
  table = table.set_column(
    table.schema.get_field_index('title_genres'), 'title_genres', column
  )
  pq.write_table(table, path)
  return vectors


def measure(work: pathlib.Path, kind: str, seed: int) -> list[dict]:
  """Trains without four genres and scores what is asked with and without them."""
  info = json.loads((work / 'all/histories/dataset_info.json').read_text())
  genres = info['genres']
  rng = np.random.default_rng(seed)
  drawn = sorted(rng.choice(len(genres), _UNSEEN, replace=False).tolist())
  unseen = [genres[column] for column in drawn]
  seen = [name for name in genres if name not in unseen]
  folder = work / f'{kind}_{seed}'
  folder.mkdir(exist_ok=True)
  without_genres(unseen, folder / 'movies.item')
  histories(folder, folder / 'movies.item')
  texts = item_texts(work / 'all', kind)
  vectors = set_vectors(folder, texts)
  of_all = read_genres(str(work / 'all/histories'), genres)
  test = read_split(str(work / 'all/histories'), 'test', genres)
  rule = LabelRule(**info['label_rule'])
  find = Asked(texts, vectors, of_all, genres, test, rule)
  model_dir = train(folder, seed)
  rows = []
  for asked, names in {'unseen': unseen, 'seen': seen}.items():
    answers = find.simple(names, seen)
    answers['from_texts'] = drafts(model_dir, folder, test, names)
    truth = answers.pop('truth')
    scores = {
      name: metrics.weighted_scores(truth, made)['f1'] for name, made in answers.items()
    }
    about = {'seed': seed, 'texts': kind, 'asked': asked, 'genres': names}
    rows.append({**about, 'users': len(truth), 'f1': scores})
    print(rows[-1], flush=True)
  return rows


class Asked:
  """Answers about some genres without a model."""

  def __init__(self, texts, vectors, of_all, genres, test, rule):
    """Keeps the movies' texts, vectors [I, H'], genres [I, G], the users, the rule."""
    self._texts, self._of_all, self._genres = texts, of_all, genres
    self._rule = rule
    ratings = [ratings for _, ratings in test.samples]
    self._whole = UserSamples(test.items, ratings, test.truth)
    newest = lambda rows: [x[:_SHOWN] for x in rows]
    self._shown = UserSamples(newest(test.items), newest(ratings), test.truth)
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    named = encoder().encode(list(genres))
    # As cosines of vectors around their means, which are better than those around 0.
    centred = unit(vectors - vectors.mean(0)), unit(named - named.mean(0))
    self._likeness = centred[0] @ centred[1].T

  def simple(self, names: list[str], known: list[str]) -> dict[str, np.ndarray]:
    """Truth, bound, word match and cosine, each [U, 2 * number of names] bool."""
    columns = [self._genres.index(name) for name in names]
    apply = lambda of_items, users: baselines.answer_by_rule(
      of_items, users, self._rule
    )
    words = [re.compile(rf'\b{re.escape(name)}\b', re.IGNORECASE) for name in names]
    found = [[bool(word.search(text)) for word in words] for text in self._texts]
    similar = self._likeness[:, columns] > self._threshold(known)
    return {
      'truth': apply(self._of_all[:, columns], self._whole),
      'bound': apply(self._of_all[:, columns], self._shown),
      'word_match': apply(np.array(found), self._shown),
      'cosine': apply(similar, self._shown),
    }

  def _threshold(self, known):
    """The cosine with the best F1 over the movies' genres that training knows."""
    columns = [self._genres.index(name) for name in known]
    truth, likeness = self._of_all[:, columns], self._likeness[:, columns]
    f1 = lambda cut: (
      2 * (truth & (likeness > cut)).sum() / (truth.sum() + (likeness > cut).sum())
    )
    return max(np.linspace(0.05, 0.9, 86), key=f1)


def train(folder: pathlib.Path, seed: int) -> str:
  """Trains the first stage; returns the model folder."""
  run(
    'persoma_tf.train',
    f'--model_dir={folder}/model',
    '--gin_file=runs/quickstart.gin',
    '--gin_file=adapters/options_from_texts.gin',
    f'--histories_dir={folder}/histories',
    f'--embeddings_dir={folder}/embeddings',
    f'--gin.train.seed={seed}',
    '--gin.train.stages=[@histories/Stage()]',
  )
  return f'{folder}/model'


def drafts(model_dir: str, folder, test, names: list[str]) -> np.ndarray:
  """The drafts of the users' newest interactions, about these genres, [U, 2G] bool."""
  item_vectors.load_item_vectors.cache_clear()
  places = f'{folder}/histories', f'{folder}/embeddings'
  engine = Predictor(model_dir, *places, 1, Decoding()).engine
  adapter, params = engine.model.adapter, engine.params['adapter']
  options, draft = MOVIELENS.options(len(names)), params['draft']
  size = 2 * len(names) + 1
  # No decoder reads the words.
  words = np.zeros((size, draft['words'].shape[1]), np.float32)
  asked = with_options(draft, encoder().encode(names), words)
  module = adapter.draft.clone(
    num_options=len(names), num_words=size, first_words=options.first_words
  )
  adapter, params = adapter.clone(draft=module), {**params, 'draft': asked}
  slots = slot_logits(adapter, params, item_vectors.load_item_vectors(places[1]), test)
  return as_indicator(np.asarray(chosen_words(slots, options)), options)


def slot_logits(adapter, params, vectors, test) -> np.ndarray:
  """Logits [U, S, W] of the slots, about the users' newest interactions."""
  apply = jax.jit(
    lambda *history: adapter.apply({'params': params}, *history).slot_logits
  )
  found = []
  for items, (_, ratings) in zip(test.items, test.samples, strict=True):
    shown = HistoryColumns(items, ratings.astype(np.float32))
    made = vectors.gather(shown.take(slice(_SHOWN)))
    history = np.zeros((1, _SHOWN, vectors.width), np.float32)
    history[0, : len(made)] = made
    found.append(apply(history, np.arange(_SHOWN)[None] < len(made))[0])
  return np.stack(found)


def as_indicator(words: np.ndarray, options: Options) -> np.ndarray:
  """Words [U, S] that fill the slots, as 0 and 1 of both sides, [U, 2G] bool."""
  named = np.zeros((len(words), 2 * options.number + 1), bool)
  named[np.arange(len(words))[:, None], words] = True
  return named[:, : 2 * options.number]


if __name__ == '__main__':
  main()
