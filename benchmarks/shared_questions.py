"""Three questions on one model: what sharing costs, and what the user tokens know.

    python -m benchmarks.shared_questions --data=/path/to/ml-latest-small \
      [--parts=drafts,answers,untrained] [--seeds=0,1,2] [--steps=900] [--answers=128] \
      [--work_dir=runs/shared_questions]

Users are divided anew for each seed.

`drafts`: genres, like and stars (examples/movielens/all.yaml) are trained together, and
each alone with a third of the steps: equal total cost. Scores of the drafts over all of
the test split.

`answers`: the decoder answers the first `--answers` examples of each question of the
model of all with the draft, with the draft masked (user tokens alone), and with the
user tokens of somebody else; and it is asked in other words.

`untrained`: "Does the user like {genre}?", which nobody was trained on, asked of the
user tokens alone; of the same decoder that reads the labels as text; and the mean of
a user's values, which needs no model and knows no genre.

A finished training is kept in the work folder. A part of a seed replaces its own
results in `benchmarks/results/shared_questions.json`. What one job for all questions
saves: `benchmarks.questions_at_once`.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Sequence

import numpy as np
import yaml

from benchmarks.decoding import machine
from benchmarks.quality import run
from benchmarks.result_files import RESULTS, ROOT
from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common import job
from pipelines.histories import history_records
from tasks import choice_metrics, metrics
from tasks.answers.lists import Answer
from tasks.choice_metrics import OptionAnswers
from tasks.history_columns import FEATURES
from tasks.predictor import Predictor

GENRES, LIKE, STARS = (
  f'movielens_{name}_v1' for name in ('genre_prediction', 'like', 'stars')
)
# What a question's score is.
SCORES = {GENRES: 'f1', LIKE: 'auc', STARS: 'mae'}
_BEFORE_ANSWERS = ('decoder', 'users')  # stages that change no draft
_OTHER_WORDS = {
  GENRES: '\nWhich genres?\n',
  LIKE: '\nIs {title} a film that the user enjoys?\nAnswer:',
  STARS: '\nHow many stars does the user give to {title}?\nAnswer:',
}
_UNTRAINED = '\nDoes the user like {genre}?\nAnswer:'
_FEWEST = 5  # users who like a genre, and who dislike it


def main() -> None:
  """Runs the parts and writes their results."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data', required=True, help='the folder of ml-latest-small')
  parser.add_argument('--parts', default='drafts,answers,untrained')
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--steps', type=int, default=900)
  parser.add_argument('--answers', type=int, default=128)
  parser.add_argument('--work_dir', default='runs/shared_questions')
  flags = parser.parse_args()
  path = RESULTS / 'shared_questions.json'
  parts = json.loads(path.read_text())['parts'] if path.exists() else {}
  for seed in map(int, flags.seeds.split(',')):
    work = pathlib.Path(flags.work_dir, f'seed_{seed}')
    prepare(work, flags.data, seed)
    train(work, 'together', flags.steps, seed)
    measure = {
      'drafts': lambda work=work, seed=seed: drafts(work, flags.steps, seed),
      'answers': lambda work=work: answers(work, flags.answers),
      'untrained': lambda work=work: untrained(work, flags.answers),
    }
    for part in flags.parts.split(','):
      found = measure[part]()
      parts.setdefault(part, {})[f'seed {seed}'] = found
      about = {
        'command': 'python -m benchmarks.shared_questions',
        'date': time.strftime('%Y-%m-%d'),
        'machine': machine(),
        'versions': job.versions('jax', 'flax'),
        'steps': flags.steps,
        'answers': flags.answers,
        'parts': parts,
      }
      path.write_text(json.dumps(about, indent=2) + '\n')
      print(seed, part, json.dumps(found, indent=2))


def prepare(work: pathlib.Path, data: str, seed: int) -> None:
  """Makes histories, with the users divided by the seed, and embeddings."""
  if (work / 'embeddings' / 'COMPLETED').exists():
    return
  dataset = yaml.safe_load((ROOT / 'examples/movielens/all.yaml').read_text())
  dataset['folder'] = str(pathlib.Path(data).absolute())
  dataset['split']['seed'] = seed
  work.mkdir(parents=True, exist_ok=True)
  (work / 'all.yaml').write_text(yaml.safe_dump(dataset))
  histories = f'{work}/histories'
  made = [f'--dataset={work}/all.yaml', f'--output_dir={histories}']
  run('pipelines.build_histories', *made)
  made = [f'--histories_dir={histories}', f'--output_dir={work}/embeddings']
  run('pipelines.embed_items', *made)


def train(work: pathlib.Path, name: str, steps: int, seed: int) -> None:
  """Trains all questions as 'together', or the drafts of one question."""
  if (work / name / 'COMPLETED').exists():
    return
  bindings = {'histories': steps, **dict.fromkeys(_BEFORE_ANSWERS, steps * 2 // 15)}
  own = [f'--gin.{stage}/Stage.steps={number}' for stage, number in bindings.items()]
  if name != 'together':
    own = [own[0], f"--gin.own_questions.names=('{name}',)"]
    own += ['--gin.train.stages=[@histories/Stage()]']
  folders = [f'--{x}_dir={work}/{x}' for x in ('histories', 'embeddings')]
  folders += [f'--model_dir={work}/{name}', f'--gin.train.seed={seed}']
  run('persoma_tf.train', '--gin_file=runs/questions.gin', *folders, *own)


def drafts(work: pathlib.Path, steps: int, seed: int) -> dict:
  """Scores of the drafts of one model, and of a model for each question."""
  for name in SCORES:
    train(work, name, steps // len(SCORES), seed)
  found = {'trained together': {}, 'trained alone': {}}
  for what, scores in found.items():
    for name in SCORES:
      folder = name if what == 'trained alone' else 'together'
      model = open_model(work, folder, [name])
      scores[name] = score_of_drafts(model, records_of(work, model))
  return {'results': found}


def answers(work: pathlib.Path, size: int) -> dict:
  """Scores of the decoder's answers with and without drafts, and in other words."""
  found = {}
  for with_drafts in (True, False):
    model = open_model(work, 'together', [*SCORES], with_drafts)
    read = 'user tokens and draft' if with_drafts else 'user tokens alone'
    for name in SCORES:
      own = model.asking(name)
      few = records_of(work, own)[:size]
      asked = {read: (few, ''), f'{read}, other words': (few, _OTHER_WORDS[name])}
      if not with_drafts:
        asked['user tokens of somebody else'] = swapped(few), ''
      for what, (shown, prompt) in asked.items():
        made = own.predict(shown, prompt)
        found.setdefault(what, {})[name] = score_of_answers(own, few, made)
        print(what, name, found[what][name], flush=True)
  return {'results': found}


def open_model(
  work: pathlib.Path,
  name: str,
  questions: Sequence[str],
  with_drafts: bool = True,
  batch: int = 64,
) -> Predictor:
  """The predictor of a model's questions."""
  folders = (f'{work}/{x}' for x in (name, 'histories', 'embeddings'))
  return Predictor(*folders, batch, Decoding(), questions=questions, drafts=with_drafts)


def records_of(work: pathlib.Path, model: Predictor) -> list[dict]:
  """Users, or examples, of the test split."""
  place = f'{work}/histories'
  about = model.question.name if model.key == 'example_id' else ''
  return [
    record
    for path in history_records.list_history_files(place, 'test', about)
    for record in history_records.read_history_file(path, model.kinds)
  ]


def swapped(records: Sequence[dict]) -> list[dict]:
  """Records with the history of another, half of all records further."""
  half = len(records) // 2
  others = [*records[half:], *records[:half]]
  shown = ('history_total', *(name for name in FEATURES if name in records[0]))
  return [
    record | {name: other[name] for name in shown}
    for record, other in zip(records, others, strict=True)
  ]


def score_of_drafts(model: Predictor, records: Sequence[dict]) -> float:
  """The score of a question's drafts; no decoder runs."""
  if model.question.name == GENRES:
    return of_lists(records, [Answer(*x) for x in model.drafts(records)])
  return of_options(model.question, records, model.draft_probabilities(records))


def score_of_answers(model: Predictor, records: Sequence[dict], made) -> float:
  """The score of the decoder's answers."""
  rows = [x.row for x in made]
  if model.question.name == GENRES:
    found = [Answer(x['predicted_liked'], x['predicted_disliked']) for x in rows]
    return of_lists(records, found)
  odds = np.array([x['decoder_probabilities'] for x in rows])
  return of_options(model.question, records, odds)


def of_lists(records, answers) -> float:
  """Weighted F1 of genres, of the users with a label."""
  truth = [Answer(tuple(x['liked']), tuple(x['disliked'])) for x in records]
  pairs = [(x, y) for x, y in zip(truth, answers, strict=True) if x.liked or x.disliked]
  return float(metrics.genre_scores(*map(list, zip(*pairs, strict=True)))['f1'])


def of_options(question, records, odds: np.ndarray) -> float:
  """AUC of a choice, or mean absolute error of a number."""
  truth = np.array([question.options.index(x['answer'][0]) for x in records])
  users = np.unique([x['user_id'] for x in records], return_inverse=True)[1]
  answers = OptionAnswers(odds.argmax(axis=1), odds)
  measures = choice_metrics.choice_measures(
    truth, users, answers, len(question.options), question.numbers
  )
  return float(measures[SCORES[question.name]](np.ones(users.max() + 1, int)))


def untrained(work: pathlib.Path, size: int) -> dict[str, dict]:
  """AUC of "Does the user like {genre}?" for each genre, by what tells of the users.

  The decoder reads the user tokens alone, or the labels as text behind them. Users like
  a genre, or dislike it, by the label rule; others do not count, nor do genres that too
  few users like or dislike.
  """
  masked = open_model(work, 'together', [LIKE, GENRES], False, batch=4)
  newest = {x['user_id']: x for x in records_of(work, masked)}
  users = records_of(work, masked.asking(GENRES))
  users = [x for x in users if x['user_id'] in newest][:size]
  labels = lambda user: (*user['liked'], *user['disliked'])
  found = {}
  for genre in sorted({name for user in users for name in labels(user)}):
    asked = [x for x in users if genre in labels(x)]
    liked = np.array([genre in x['liked'] for x in asked])
    if min(liked.sum(), (~liked).sum()) < _FEWEST:
      continue
    prompt = _UNTRAINED.format(genre=genre)
    records = [newest[x['user_id']] for x in asked]
    told = [
      masked.predict([record], as_text(user) + prompt)[0]
      for user, record in zip(asked, records, strict=True)
    ]
    yes = lambda made: np.array([x.row['decoder_probabilities'][0] for x in made])
    scores = {
      'user tokens alone': yes(masked.predict(records, prompt)),
      'labels as text': yes(told),
      'mean of the values': np.array([x['history_ratings'].mean() for x in asked]),
    }
    found[genre] = {
      'users': len(asked),
      'liked': int(liked.sum()),
      'auc': {what: auc(liked, score) for what, score in scores.items()},
    }
    print(genre, found[genre], flush=True)
  return {'genres': found}


def as_text(user: dict) -> str:
  """The labels of a user in words."""
  likes, dislikes = (
    ', '.join(user[x]) or 'nothing in particular' for x in ('liked', 'disliked')
  )
  return f"\nThe user likes {likes} and doesn't like {dislikes}."


def auc(positive: np.ndarray, scores: np.ndarray) -> float:
  """Area under the ROC curve; ties count half."""
  above = scores[positive][:, None] - scores[~positive]
  return float(np.mean((above > 0) + (above == 0) / 2))


if __name__ == '__main__':
  main()
