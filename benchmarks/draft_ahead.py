"""Speed of greedy answers that read their drafts ahead, against one token at a time.

    python -m benchmarks.draft_ahead --model_dir=model --histories_dir=histories \
      --embeddings_dir=embeddings [--users=32] [--weights=float32]

One process and one loaded model of a list question; each batch size is answered by both
ways in turn, three times after a first pass, and the ratio is of the medians. Answers
must be the same tokens, or the script says how many are not. `accepted` is the share of
the answers' tokens that were read ahead and kept. Writes
`benchmarks/results/draft_ahead.json`; rows in it are not measured again.
"""

import argparse
import json
import pathlib
import statistics
import time

from benchmarks.answers import test_histories
from benchmarks.decoding import machine
from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common import job
from tasks.predictor import Predictor

_SIZES = (1, 8, 32, 64)
_PASSES = 3
_RESULTS = pathlib.Path(__file__).parent / 'results' / 'draft_ahead.json'


def main() -> None:
  """Measures all batch sizes and writes what was found."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  for name in ('model_dir', 'histories_dir', 'embeddings_dir'):
    parser.add_argument(f'--{name}', required=True)
  parser.add_argument('--users', type=int, default=32)
  parser.add_argument('--weights', default='float32')
  flags = parser.parse_args()
  rows = json.loads(_RESULTS.read_text())['rows'] if _RESULTS.exists() else {}
  for kind in ('constrained', 'free'):
    for size in _SIZES:
      if (name := f'{kind}, B={size}') not in rows:
        rows[name] = measure(flags, kind, size)
        _RESULTS.write_text(json.dumps(about(flags, rows), indent=2) + '\n')
        print(name, rows[name])


def about(flags, rows) -> dict:
  """Returns the content of the results file."""
  return {
    'command': 'python -m benchmarks.draft_ahead',
    'date': time.strftime('%Y-%m-%d'),
    'machine': machine(),
    'versions': job.versions('jax', 'flax'),
    'weights': flags.weights,
    'rows': rows,
  }


def measure(flags, kind: str, size: int) -> dict:
  """Returns users a second of both ways, their ratio, and what was accepted."""
  folders = flags.model_dir, flags.histories_dir, flags.embeddings_dir
  decoding = Decoding(constrained=kind == 'constrained', weights=flags.weights)
  predictor = Predictor(*folders, size, decoding)
  histories = test_histories(str(pathlib.Path(flags.histories_dir).parent))
  users = min(flags.users, 8 * size)
  requests = [predictor._request(x) for x in histories[:users]]
  ahead = predictor.engine
  plain = ahead.asking(
    *(ahead._prompt, ahead.task._replace(drafted=None), ahead._limits),
    *(ahead._options, 0),
  )
  ways, seconds = {'ahead': ahead, 'one by one': plain}, {}
  answers = {name: way.answer(requests) for name, way in ways.items()}
  for _ in range(_PASSES):
    for name, way in ways.items():
      start = time.perf_counter()
      way.answer(requests)
      seconds.setdefault(name, []).append(time.perf_counter() - start)
  middle = {name: statistics.median(x) for name, x in seconds.items()}
  pairs = [*zip(*answers.values(), strict=True)]
  return {
    'users': len(requests),
    'users_a_second': {name: len(requests) / x for name, x in middle.items()},
    'ratio': middle['one by one'] / middle['ahead'],
    'same_answers': sum(one.tokens == other.tokens for one, other in pairs),
    'accepted': accepted([one for one, _ in pairs], ahead),
    'seconds': seconds,
  }


def accepted(answers, engine) -> float:
  """Returns the share of tokens, with the ends of answers, that drafts have right."""
  begun, eos_id = engine._ahead._begun, engine.task.eos_id
  right = written = 0
  for answer in answers:
    ended = eos_id in answer.tokens
    size = answer.tokens.index(eos_id) + 1 if ended else len(answer.tokens)
    own = answer.tokens[begun:size]
    (drafted,) = engine._ahead.tokens([answer.draft]).tolist()
    same = [x == y for x, y in zip(drafted, own, strict=False)]
    right += same.index(False) if False in same else len(same)
    written += len(own)
  return right / written


if __name__ == '__main__':
  main()
