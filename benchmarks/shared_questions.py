"""Three questions on one model: what sharing costs, and what it saves.

    python -m benchmarks.shared_questions --data=/path/to/ml-latest-small \
      [--parts=drafts,answers,speed] [--seed=0] [--steps=900] [--answers=128] \
      [--repetitions=3] [--work_dir=runs/shared_questions]

`drafts`: genres, like and stars (examples/movielens/all.yaml) are trained together, and
each alone with a third of the steps: equal total cost. Scores of the drafts over all of
the test split.

`answers`: the decoder answers the first `--answers` examples of each question of the
model of all with the draft, with the draft masked (user tokens alone), and with the
user tokens of somebody else; and it is asked in other words, and what it was not
trained on.

`speed`: `batch_predict --questions=all` against a job for each question, on the test
split, from the command to the finished folders. Everything is compiled before.

A finished training is kept in the work folder. A part replaces its own results in
`benchmarks/results/shared_questions.json`.
"""

import argparse
import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
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
_BATCH = 64


def main() -> None:
  """Runs the parts and writes their results."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data', required=True, help='the folder of ml-latest-small')
  parser.add_argument('--parts', default='drafts,answers,speed')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--steps', type=int, default=900)
  parser.add_argument('--answers', type=int, default=128)
  parser.add_argument('--repetitions', type=int, default=3)
  parser.add_argument('--work_dir', default='runs/shared_questions')
  flags = parser.parse_args()
  work = pathlib.Path(flags.work_dir, f'seed_{flags.seed}')
  path = RESULTS / 'shared_questions.json'
  parts = json.loads(path.read_text())['parts'] if path.exists() else {}
  prepare(work, flags.data, flags.seed)
  train(work, 'together', flags.steps, flags.seed)
  for part in flags.parts.split(','):
    parts[part] = {'drafts': drafts, 'answers': answers, 'speed': speed}[part](
      work, flags
    )
    about = {
      'command': 'python -m benchmarks.shared_questions',
      'date': time.strftime('%Y-%m-%d'),
      'machine': machine(),
      'versions': job.versions('jax', 'flax'),
      'parts': parts,
    }
    path.write_text(json.dumps(about, indent=2) + '\n')
    print(json.dumps(parts[part], indent=2))


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


def drafts(work: pathlib.Path, flags) -> dict:
  """Scores of the drafts of one model, and of a model for each question."""
  for name in SCORES:
    train(work, name, flags.steps // len(SCORES), flags.seed)
  found = {'trained together': {}, 'trained alone': {}}
  for what, scores in found.items():
    for name in SCORES:
      folder = name if what == 'trained alone' else 'together'
      model = open_model(work, folder, [name])
      scores[name] = score_of_drafts(model, records_of(work, model))
  return {'steps': flags.steps, 'seed': flags.seed, 'results': found}


def answers(work: pathlib.Path, flags) -> dict:
  """Scores of the decoder's answers with and without drafts, and in other words."""
  found = {}
  for with_drafts in (True, False):
    model = open_model(work, 'together', [*SCORES], with_drafts)
    read = 'user tokens and draft' if with_drafts else 'user tokens alone'
    for name in SCORES:
      own = model.asking(name)
      few = records_of(work, own)[: flags.answers]
      asked = {read: (few, ''), f'{read}, other words': (few, _OTHER_WORDS[name])}
      if not with_drafts:
        asked['user tokens of somebody else'] = swapped(few), ''
      for what, (shown, prompt) in asked.items():
        made = own.predict(shown, prompt)
        found.setdefault(what, {})[name] = score_of_answers(own, few, made)
        print(what, name, found[what][name], flush=True)
  untrained = of_untrained(work, model, flags.answers)
  return {'answers': flags.answers, 'results': found, 'untrained': untrained}


def open_model(
  work: pathlib.Path, name: str, questions: Sequence[str], with_drafts: bool = True
) -> Predictor:
  """The predictor of a model's questions."""
  folders = (f'{work}/{x}' for x in (name, 'histories', 'embeddings'))
  return Predictor(
    *folders, _BATCH, Decoding(), questions=questions, drafts=with_drafts
  )


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


def of_untrained(work, masked: Predictor, size: int) -> dict[str, dict]:
  """AUC of "Does the user like {genre}?", asked of user tokens alone.

  Users like a genre, or dislike it, by the label rule; others do not count.
  """
  own = masked.asking(LIKE)
  newest = {x['user_id']: x for x in records_of(work, own)}
  users = [x for x in records_of(work, masked.asking(GENRES)) if x['user_id'] in newest]
  users, found = users[:size], {}
  for genre in ('Horror', 'Comedy', 'Children', 'Sci-Fi'):
    asked = [x for x in users if genre in (*x['liked'], *x['disliked'])]
    liked = np.array([genre in x['liked'] for x in asked])
    prompt = _UNTRAINED.format(genre=genre)
    made = own.predict([newest[x['user_id']] for x in asked], prompt)
    odds = np.array([x.row['decoder_probabilities'][0] for x in made])
    above = odds[liked][:, None] - odds[~liked]
    auc = float(np.mean((above > 0) + (above == 0) / 2)) if above.size else None
    found[genre] = {'auc': auc, 'liked': int(liked.sum()), 'users': len(asked)}
  return found


def speed(work: pathlib.Path, flags) -> dict:
  """Seconds of one job with all questions, and of a job for each."""
  jobs = {'together': ['all'], 'a job each': [*SCORES]}
  seconds = {name: [] for name in jobs}
  for number in range(flags.repetitions + 1):
    for name, asked in jobs.items():
      took = [predicted(work, questions) for questions in asked]
      if number:  # the first compiles
        seconds[name].append([sum(x) for x in zip(*took, strict=True)])
  users = json.loads((work / 'histories/dataset_info.json').read_text())['counts']
  answers = {'users': users['users']['test']}
  answers |= {name: x['test'] for name, x in users['examples'].items()}
  pairs = [seconds[name] for name in jobs]
  ratios = [apart[0] / one[0] for one, apart in zip(*pairs, strict=True)]
  return {
    'answers': answers,
    'seconds (wall, processor)': seconds,
    'users a second': {
      name: answers['users'] / statistics.median(x[0] for x in found)
      for name, found in seconds.items()
    },
    'ratios': ratios,
    'ratio': statistics.median(ratios),
    'seconds of a batch': parts_of_a_batch(work),
  }


def parts_of_a_batch(work: pathlib.Path) -> dict[str, dict[str, float]]:
  """Seconds of 64 soft prompts and of their answers, once compiled, by question."""
  model, found = open_model(work, 'together', [*SCORES]), {}
  for name in SCORES:
    own = model.asking(name)
    records = records_of(work, own)[:_BATCH]
    for what, make in {'soft prompts': own.soft_prompts, 'all': own.predict}.items():
      make(records)  # compiles
      started = time.monotonic()
      make(records)
      found.setdefault(name, {})[what] = time.monotonic() - started
  return found


def predicted(work: pathlib.Path, questions: str) -> tuple[float, float]:
  """Wall and processor seconds of a job, from its command to its end."""
  shutil.rmtree(work / 'predictions', ignore_errors=True)
  folders = {'model': 'together'} | {x: x for x in ('histories', 'embeddings')}
  folders['output'] = 'predictions'
  command = [sys.executable, '-m', 'pipelines.batch_predict']
  command += [f'--{name}_dir={work}/{x}' for name, x in folders.items()]
  spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
  started, before = time.monotonic(), spent()
  subprocess.run([*command, f'--questions={questions}'], check=True)
  return time.monotonic() - started, spent() - before


if __name__ == '__main__':
  main()
