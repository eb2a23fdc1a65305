"""Speed of the engines behind the same soft prompts, and of the history as text.

    python -m benchmarks.serving --model_dir=model --histories_dir=histories \
      --embeddings_dir=embeddings --vllm_python=.venv-vllm/bin/python \
      --peer_python=/path/to/python [--engines=jax,vllm] [--users=16] [--passes=1]

The test users of MovieLens-100K with the quickstart's model; greedy answers, free and
kept to their form, one process after the other:

- `jax`: our engine, at its best batch size;
- `vllm`: `--engine=vllm`;
- `bare_vllm`: vLLM alone, all users at once; it is kept to the form by a regular
  expression, as its own users would do it;
- `transformers`: `generate` behind the same soft prompts;
- `text`: vLLM with the 10 or 50 newest interactions as text (some users).

Users a second are of the median of the passes after a first one; loading and compiling
are not counted, ours has the adapter in it. Writes `benchmarks/results/serving.json`;
rows in it are not measured again. What the peers are shown is kept in `--work_dir`:
name another one for another model.
"""

import argparse
import itertools
import json
import pathlib
import re
import statistics
import sys
import time
import zlib
from collections.abc import Iterator

import numpy as np

from benchmarks import decoding
from benchmarks.answers import test_histories
from benchmarks.processes import last_line
from benchmarks.result_files import RESULTS
from persoma_tf import export_decoder
from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common import job
from tasks import genre_prediction, questions, text_history
from tasks.histories import load_genres
from tasks.history_columns import HistoryColumns
from tasks.predictor import Predictor

_DECODER = 'smollm2-135m-instruct'
_TEXT_USERS = {10: 32, 50: 16}  # interactions shown -> users
_BATCHES = {'kept, float32': 64, 'free, float32': 64}  # else all at once
ENGINES = ('jax', 'vllm', 'bare_vllm', 'transformers', 'text')


def main() -> None:
  """Measures in processes of their own and writes what they say of each other."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  for name in ('model_dir', 'histories_dir', 'embeddings_dir'):
    parser.add_argument(f'--{name}', required=True)
  for name in ('vllm_python', 'peer_python'):
    parser.add_argument(f'--{name}', default='')
  parser.add_argument('--engines', default=','.join(ENGINES))
  parser.add_argument('--users', type=int, default=0, help='0: all')
  parser.add_argument('--passes', type=int, default=3)
  parser.add_argument('--work_dir', default='runs/serving')
  parser.add_argument('--out', type=pathlib.Path, default=RESULTS / 'serving.json')
  parser.add_argument('--ours', help='internal: name of a row')
  flags = parser.parse_args()
  if flags.ours:
    print(json.dumps(measure(flags, flags.ours)))
    return
  rows = json.loads(flags.out.read_text())['rows'] if flags.out.exists() else {}
  pathlib.Path(flags.work_dir).mkdir(parents=True, exist_ok=True)
  for name, command in commands(flags):
    if name not in rows:
      row = last_line(command)
      rows[name] = row if 'f1' in row else _scored(flags, row)
      flags.out.write_text(json.dumps(about(rows), indent=2) + '\n')
  print(json.dumps(about(rows)['ratios'], indent=2))


def commands(flags) -> Iterator[tuple[str, list[str]]]:
  """Yields what is measured, in its order, and how."""
  chosen, short = flags.engines.split(','), [f'--passes={flags.passes}']
  named = ('model_dir', 'histories_dir', 'embeddings_dir', 'vllm_python', 'users')
  for engine in ('jax', 'vllm'):
    for kind in ('kept, float32', 'free, float32', 'kept, bfloat16', 'free, bfloat16'):
      if engine in chosen:
        given = [f'--{name}={getattr(flags, name)}' for name in named]
        ours = f'{engine}, {kind}'
        command = [sys.executable, '-m', 'benchmarks.serving', *given, *short]
        yield ours, [*command, f'--ours={ours}']
  if not {*chosen} - {'jax', 'vllm'}:
    return
  inputs = [f'--inputs={write_inputs(flags)}']
  folder = pathlib.Path(flags.work_dir, 'decoder')
  if not folder.exists():
    export_decoder.main([f'--decoder={_DECODER}', f'--output_dir={folder}'])
  vllm = [flags.vllm_python, 'benchmarks/vllm_peer.py', *inputs, *short]
  vllm += [f'--folder={folder}']
  cases = itertools.product(('soft_prompts', 'kept'), decoding.TYPES)
  for case, dtype in cases if 'bare_vllm' in chosen else ():
    kind = 'kept' if case == 'kept' else 'free'
    yield f'bare_vllm, {kind}, {dtype}', [*vllm, f'--case={case}', f'--dtype={dtype}']
  for dtype in decoding.TYPES if 'transformers' in chosen else ():
    # A GGUF file would stay in 4 bits.
    command = [flags.peer_python, 'benchmarks/generate_peer.py', *inputs, *short]
    command += [f'--decoder={folder}', '--show=soft_prompts', '--batch_size=128']
    yield f'transformers, free, {dtype}', [*command, f'--dtype={dtype}']
  texts = itertools.product(_TEXT_USERS, decoding.TYPES) if 'text' in chosen else ()
  for items, dtype in texts:
    command = [*vllm, f'--case=text_{items}', f'--dtype={dtype}']
    yield f'text, N={items}, free, {dtype}', command


def histories_of(flags) -> list[dict]:
  """The users that are asked."""
  every = test_histories(str(pathlib.Path(flags.histories_dir).parent))
  return every[: flags.users or None]


def load(flags, kind: str, vllm_python: str = '') -> Predictor:
  """The predictor for answers of a kind: 'free, float32' and the like."""
  form, dtype = kind.split(', ')
  return Predictor(
    flags.model_dir,
    flags.histories_dir,
    flags.embeddings_dir,
    _BATCHES.get(kind, 208),
    Decoding(constrained=form == 'kept', weights=dtype),
    vllm_python=vllm_python,
  )


def measure(flags, name: str) -> dict:
  """One row of our engine, or of vLLM as our engine."""
  engine, kind = name.split(', ', 1)
  predictor = load(flags, kind, flags.vllm_python if engine == 'vllm' else '')
  histories, seconds = histories_of(flags), []
  for _ in range(1 + flags.passes):
    started = time.perf_counter()
    made = predictor.predict(histories)
    seconds.append(time.perf_counter() - started)
  first, *seconds = seconds
  return {
    'users': len(made),
    'seconds': seconds,
    'users_a_second': len(made) / statistics.median(seconds),
    'first_pass_seconds': first,
    'peak_memory_gb': decoding.peak_memory_gb(),
    **_read(flags, [x.row['text'] for x in made]),
  }


def _scored(flags, row: dict) -> dict:
  """A peer's row, with what its answers are worth."""
  vocabulary, answers = genre_prediction.VOCABULARY, row.pop('answers')
  ids = [[*map(int, x.split())] if isinstance(x, str) else x for x in answers]
  ends = {vocabulary.eos_id, *vocabulary.other_ends}
  texts = [vocabulary.decode([x for x in tokens if x not in ends]) for tokens in ids]
  return row | _read(flags, texts)


def _read(flags, texts: list[str]) -> dict:
  """Scores of answers of all test users, and a short form of each, to compare them."""
  genres, found = load_genres(flags.histories_dir).names, {'f1': None}
  if len(texts) == len(test_histories(str(pathlib.Path(flags.histories_dir).parent))):
    rows = [questions.MOVIELENS.row('', text, 0, 0, genres) for text in texts]
    scores = decoding.scores(flags.histories_dir, rows)
    found = {name: scores[name] for name in ('f1', 'parse_failures')}
  short = [f'{zlib.crc32(text.encode()):08x}' for text in texts]
  return {**found, 'answers': ' '.join(short)}


def write_inputs(flags) -> pathlib.Path:
  """What the peers are shown, as the predictor makes it; kept for later calls."""
  path = pathlib.Path(flags.work_dir, f'inputs_{flags.users}.npz')
  if path.exists():
    return path
  predictor, histories = load(flags, 'free, float32'), histories_of(flags)
  vocabulary, question = genre_prediction.VOCABULARY, questions.MOVIELENS
  shown = text_history.load_interactions(flags.histories_dir)
  texts = {}
  for items, users in _TEXT_USERS.items():
    limits = text_history.HistoryLimits(items, 1 << 20)
    columns = map(HistoryColumns.of_record, histories[:users])
    rows = [shown.prompt(x, limits) for x in columns]
    longest = max(map(len, rows))
    padded = [np.pad(x, (0, longest - len(x)), constant_values=-1) for x in rows]
    texts[f'text_{items}'] = np.stack(padded)
  np.savez(
    path,
    soft_prompts=predictor.soft_prompts(histories),
    prompt=np.array(vocabulary.encode(question.prompt)),
    regex=regex_of(question, load_genres(flags.histories_dir).names),
    eos_id=vocabulary.eos_id,
    max_tokens=genre_prediction.feature_lengths()['targets'],
    **texts,
  )
  return path


def regex_of(question: questions.Question, genres: list[str]) -> str:
  """The form of the answers, but that a list may name something twice."""
  literal = lambda text: re.sub(r'([][.^$*+?(){}|\\])', r'\\\1', text)  # blanks stay
  names = '|'.join(map(literal, genres))
  side = f'({literal(question.none)}|({names})(, ({names})){{0,{question.most - 1}}})'
  return f'{literal(question.likes)} {side}{literal(question.dislikes)} {side}'


def about(rows: dict[str, dict]) -> dict:
  """The results file."""
  return {
    'command': 'python -m benchmarks.serving',
    'machine': decoding.machine(),
    'versions': job.versions('jax', 'flax'),
    'ratios': ratios(rows),
    'same_answers': same_answers(rows),
    'rows': rows,
  }


def ratios(rows: dict[str, dict]) -> dict[str, float]:
  """Users a second of our engines over those of others."""
  ours = [name for name in rows if name.startswith(('jax', 'vllm'))]
  others = [name for name in rows if not name.startswith('jax')]
  speed = lambda name: rows[name]['users_a_second']
  return {
    f'{a} / {b}': speed(a) / speed(b)
    for a in ours
    for b in others
    if a.endswith('bfloat16') == b.endswith('bfloat16') and a != b
  }


def same_answers(rows: dict[str, dict]) -> dict[str, str]:
  """How many answers are those of our engine in float32, of so many."""
  found = {}
  for name, row in rows.items():
    like = next((x for x in ('free', 'kept') if f', {x}, ' in name), None)
    ours = rows.get(f'jax, {like}, float32')
    if ours and ours is not row and row['users'] == ours['users']:
      pairs = zip(row['answers'].split(), ours['answers'].split(), strict=True)
      found[name] = f'{sum(x == y for x, y in pairs)} of {row["users"]}'
  return found


if __name__ == '__main__':
  main()
