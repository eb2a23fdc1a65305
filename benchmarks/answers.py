"""Test users' answers of a trained model, scored: what benchmarks/quality.py runs.

    python -m benchmarks.answers --model_dir=model --shown=folder [--shown=...] \
      --output=scores.json [--users=48] [--batch_size=32] [--all] [--free | --drafts]

Each `--shown` is a folder with finished `histories` and `embeddings`. Writes, for each,
F1 over the test users with its interval, F1 over the first `--users` of them (those
that slow methods answer), parse failures, and, but for `--free`, the F1 of its answers
where these are kept to their form, so that nothing is lost to malformed ones, of its
drafts alone, and of what it answers without a history. The answers themselves are kept
beside the scores, in `answers_<folder>.npz`: `truth` and a method's each [U, 2G] bool.
With `--drafts` the decoder never runs: the model's only answers are its drafts.
"""

import argparse
import json
import pathlib

import numpy as np

from persoma_tf import operand_types
from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common import tfrecord
from pipelines.histories import history_records
from pipelines.report.run_results import read_split
from pipelines.report.vector_answers import answer_from_vectors
from tasks import baselines, metrics
from tasks.answers.lists import Answer
from tasks.history_columns import FEATURES
from tasks.labels import LabelRule
from tasks.predictor import Predictor


def main() -> None:
  """Answers and scores."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--model_dir', required=True)
  parser.add_argument('--shown', action='append', required=True)
  parser.add_argument('--output', required=True)
  parser.add_argument('--users', type=int, default=48)
  parser.add_argument('--batch_size', type=int, default=32)
  parser.add_argument('--all', action='store_true', help='answer all, not --users')
  parser.add_argument('--free', action='store_true', help='answer freely, not twice')
  parser.add_argument('--drafts', action='store_true', help='run no decoder')
  flags = parser.parse_args()
  output = pathlib.Path(flags.output)
  scores = {}
  for folder in flags.shown:
    name = pathlib.Path(folder).name
    truth, answers, failures = answer_all(flags, folder)
    np.savez_compressed(output.with_name(f'answers_{name}.npz'), truth=truth, **answers)
    scores[name] = score(truth, answers, flags.users) | {'parse_failures': failures}
  output.write_text(json.dumps(scores, indent=2))


def test_histories(folder: str) -> list[dict]:
  """Histories of the test users, in the order of their shards."""
  shards = sorted(pathlib.Path(folder, 'histories').glob('test-*.tfrecord*'))
  return [
    history_records.decode_example(x)
    for path in shards
    for x in tfrecord.read_tfrecord(str(path))
  ]


def open_predictor(flags, folder: str, constrained: bool) -> Predictor:
  """The model, to answer about the histories of a folder."""
  return Predictor(
    flags.model_dir,
    f'{folder}/histories',
    f'{folder}/embeddings',
    flags.batch_size,
    Decoding(constrained=constrained),
  )


def answer(predictor: Predictor, histories: list[dict]) -> list[dict]:
  """The table's rows of some users."""
  return [made.row for made in predictor.predict(histories)]


def indicator(
  rows: list[dict], genres: list[str], said: str = 'predicted'
) -> np.ndarray:
  """The answers, or the drafts, as 0 and 1, [U, 2G]."""
  answers = [Answer(x[f'{said}_liked'], x[f'{said}_disliked']) for x in rows]
  return metrics.indicator(answers, genres)


def of_model(flags, folder: str, histories: list[dict], genres) -> tuple[dict, int]:
  """The model's answers, drafts and answers without a history, each [U, 2G].

  The number is that of the free answers which cannot be parsed.
  """
  predictor = open_predictor(flags, folder, constrained=not flags.free)
  drafts = lambda: [Answer(*x) for x in predictor.drafts(histories)]
  if flags.drafts:
    return {'draft': metrics.indicator(drafts(), genres)}, 0
  found = {}
  if not flags.free:
    rows = answer(predictor, histories)
    nothing = {
      name: histories[0][name][:0] for name in FEATURES if name in histories[0]
    }
    unasked = indicator(answer(predictor, [histories[0] | nothing]), genres)
    found['constrained'] = indicator(rows, genres)
    found['no_history'] = np.tile(unasked, (len(rows), 1))
    if (draft := indicator(rows, genres, 'draft')).any():
      found['draft'] = draft
    predictor = open_predictor(flags, folder, constrained=False)
  rows = answer(predictor, histories)
  found['model'] = indicator(rows, genres)
  return found, sum(not row['parse_ok'] for row in rows)


def against(truth: np.ndarray, answers: dict, method: str, other: str) -> dict:
  """How much the F1 of a method is above another's, over the same users."""
  pair = answers[method], answers[other]
  first, second = (metrics.weighted_scores(truth, made)['f1'] for made in pair)
  return {
    'difference': first - second,
    'interval': metrics.paired_bootstrap(truth, *pair),
  }


def answer_all(flags, folder: str) -> tuple[np.ndarray, dict, int]:
  """Truth [U, 2G], each method's answers [U, 2G], and how many texts say nothing."""
  info = json.loads(pathlib.Path(folder, 'histories/dataset_info.json').read_text())
  genres, rule = info['genres'], LabelRule(**info['label_rule'])
  test = read_split(f'{folder}/histories', 'test', genres)
  train = read_split(f'{folder}/histories', 'train', genres)
  histories = test_histories(folder)[: None if flags.all else flags.users]
  size = len(histories)
  samples = test.samples[:size]
  answers, failures = of_model(flags, folder, histories, genres)
  answers |= {
    'constant': np.tile(baselines.constant(train.truth), (size, 1)),
    'counting': baselines.counting([x for x, _ in samples], len(genres)),
    'rule_on_sample': baselines.rule_on_sample(samples, len(genres), rule),
  }
  chosen = answer_from_vectors(
    f'{folder}/embeddings', f'{folder}/histories', info, train, test
  )
  answers |= {name: found.answers[:size] for name, found in chosen.items()}
  return test.truth[:size], answers, failures


def score(truth: np.ndarray, answers: dict, few: int) -> dict:
  """Scores of the model and, over the same users, of what needs none."""
  f1 = lambda made, size: metrics.weighted_scores(truth[:size], made[:size])['f1']
  scores = {
    'users': len(truth),
    'weights': operand_types.chosen_type(operand_types.AUTO),
    'f1': {name: f1(made, len(truth)) for name, made in answers.items()},
    'f1_first': {name: f1(made, few) for name, made in answers.items()},
    'interval': metrics.bootstrap_f1(truth, answers.get('model', answers.get('draft'))),
    'above_linear_probe': {
      name: against(truth, answers, name, 'linear_probe')
      for name in ('model', 'constrained', 'draft')
      if name in answers
    },
  }
  if {'draft', 'constrained'} <= set(answers):
    same = (answers['constrained'] == answers['draft']).all(axis=1)
    scores['text_is_draft'] = float(same.mean())
  return scores


if __name__ == '__main__':
  main()
