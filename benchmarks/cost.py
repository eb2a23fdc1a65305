"""What a user costs as a soft prompt and as text: tokens, seconds, memory.

    python -m benchmarks.cost --data_dir=runs/quality/ml-100k/long

`--data_dir` holds finished `histories` and `embeddings` of long histories. For N items
a user, in a process of its own for every line: tokens before the answer, seconds of a
training step and of an answer of 16 tokens for each user of a batch (the best of the
batch sizes in `KINDS`), and peak memory; of each adapter, too, a step without the
decoder. All in float32. The users are real ones with at least N ratings; the parameters
are fresh, since no figure depends on what they hold. Writes
`benchmarks/results/cost.json`; lines that are in it are not measured again.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import gin
import jax
import numpy as np

from benchmarks.processes import last_line
from persoma_tf import model as persoma
from persoma_tf import recipes
from persoma_tf.decoders import stack
from persoma_tf.inference import generate
from persoma_tf.model import Prompts
from persoma_tf.parameters import freezing
from persoma_tf.training import training_run  # noqa: F401  registers what recipes set
from persoma_tf.training.answer_vocabulary import bind_template
from persoma_tf.training.initial_adapter import init_adapter
from persoma_tf.training.stages import make_steps
from pipelines.common import job, tfrecord
from pipelines.histories import history_records
from tasks import genre_prediction, item_vectors, questions
from tasks.history_columns import HistoryColumns
from tasks.text_history import HistoryLimits, load_interactions
from tasks.vocabularies import VOCABULARY

_ANSWER = 16  # tokens, about what an answer has
_MOST_TOKENS = 8192  # of a batch
_QUICKSTART, _MANY = 'runs/perceiver.gin', (10, 50, 200, 1000)


class Kind(NamedTuple):
  """What is measured of a kind: batch sizes, none where a thing is not measured."""

  recipes: Sequence[str]
  items: Sequence[int]
  answer_sizes: Sequence[int] = ()
  train_size: int = 0
  adapter_size: int = 0
  bindings: Sequence[str] = ()


_PROMPT_FIRST = ("build.prompt_order = 'prompt_first'",)
KINDS = {
  'persoma': Kind([_QUICKSTART], _MANY, (64,), 8, 64),
  # `persoma` again, beside the line behind it: two days differ more than these two.
  'prompt_last': Kind([_QUICKSTART], (50,), (64,)),
  'prompt_first': Kind([_QUICKSTART], (50,), (64,), bindings=_PROMPT_FIRST),
  'mlp': Kind([_QUICKSTART, 'adapters/mlp.gin'], _MANY, adapter_size=64),
  'transformer': Kind(
    [_QUICKSTART, 'adapters/transformer.gin'], _MANY, adapter_size=64
  ),
  'text_prompt': Kind(['runs/text_prompt.gin'], (10, 50, 200), (4,), 2),
}


def main() -> None:
  """Measures line by line and writes what they say of each other."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--measure', help='internal: kind,N')
  flags = parser.parse_args()
  if flags.measure:
    kind, items = flags.measure.split(',')
    print(json.dumps(Line(flags.data_dir, kind, int(items)).measure()))
    return
  path = pathlib.Path(__file__).parent / 'results' / 'cost.json'
  lines = json.loads(path.read_text())['lines'] if path.exists() else {}
  for kind, settings in KINDS.items():
    for items in settings.items:
      if f'N={items}' not in lines.setdefault(kind, {}):
        lines[kind][f'N={items}'] = child(flags.data_dir, kind, items)
        path.write_text(json.dumps(about(lines), indent=2) + '\n')
  print(path)


def about(lines: dict) -> dict:
  """The results file."""
  ours, text = lines['persoma'], lines.get('text_prompt', {})
  seconds = lambda rows, n, what: rows[n][what]['seconds_a_user']
  flat = [seconds(ours, n, 'answer') for n in ('N=50', 'N=1000') if n in ours]
  return {
    'command': 'python -m benchmarks.cost',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions('jax', 'flax'),
    'text_over_persoma': {
      n: {x: seconds(text, n, x) / seconds(ours, n, x) for x in ('train', 'answer')}
      for n in text
      if n in ours
    },
    'answer_at_1000_over_50': flat[1] / flat[0] if len(flat) == 2 else None,
    'lines': lines,
  }


def child(data_dir: str, kind: str, items: int) -> dict:
  """One line, measured in its own process."""
  command = [sys.executable, '-m', 'benchmarks.cost', f'--data_dir={data_dir}']
  return last_line([*command, f'--measure={kind},{items}'])


class Line:
  """One kind of prompt at one N."""

  def __init__(self, data_dir: str, kind: str, items: int):
    """Loads the model and real users with at least N ratings."""
    self._kind = KINDS[kind]
    folders = [f'HISTORIES_DIR = {data_dir + "/histories"!r}']
    folders += [f'EMBEDDINGS_DIR = {data_dir + "/embeddings"!r}']
    limit = f'history_limits.items = {items}'
    recipes.parse_recipes(self._kind.recipes, [*folders, limit, *self._kind.bindings])
    shards = sorted(pathlib.Path(data_dir, 'histories').glob('*.tfrecord*'))
    every = (
      history_records.decode_example(x)
      for path in shards
      for x in tfrecord.read_tfrecord(str(path))
    )
    long = sorted((x for x in every), key=lambda x: -len(x['history_items']))
    long = [x for x in long if len(x['history_items']) >= items] or long[:8]
    self._users = long[-8:]  # the shortest of them: typical, where there are many
    self._items, self._text = items, kind == 'text_prompt'
    self._inputs = self._texts(data_dir) if self._text else self._vectors(data_dir)
    self._build()

  def _vectors(self, data_dir):
    """Vectors [8, N, H], mask [8, N] and prompts [8, T]."""
    table = item_vectors.load_item_vectors(f'{data_dir}/embeddings')
    vectors = np.zeros((len(self._users), self._items, table.width), np.float32)
    mask = np.zeros(vectors.shape[:2], np.int32)
    for row, user in enumerate(self._users):
      cut = slice(0, self._items)
      found = table.gather(HistoryColumns.of_record(user).take(cut))
      vectors[row, : len(found)], mask[row, : len(found)] = found, 1
    prompt = np.array(VOCABULARY.encode(questions.TASK_PROMPT), np.int32)
    return vectors, mask, np.tile(prompt, (len(vectors), 1))

  def _texts(self, data_dir):
    """No vectors, and prompts [8, T] with the histories in them."""
    shown = load_interactions(f'{data_dir}/histories')
    limits = HistoryLimits(self._items, 1 << 20)
    rows = [shown.prompt(HistoryColumns.of_record(x), limits) for x in self._users]
    prompt = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for place, row in enumerate(rows):
      prompt[place, : len(row)] = row
    empty = np.zeros((len(rows), 0, 1), np.float32)
    return empty, np.zeros((len(rows), 0), np.int32), prompt

  def _build(self):
    task = gin.query_parameter('train.task')
    answer = None if self._text else genre_prediction.answer_template()
    words = bind_template(answer, task)
    lengths = genre_prediction.feature_lengths()
    self._statistics = 0 if self._text else lengths['history_statistics']
    recipes.bind_parameter('build.num_statistics', self._statistics)
    self._model, decoder = persoma.build()
    names = ('history_embeddings', 'history_mask', 'encoder_input_tokens')
    self._batch = dict(zip(names, self._inputs, strict=True))
    self._batch['encoder_input_mask'] = self._inputs[2] > 0  # 0 is no word of SmolLM2's
    adapter = init_adapter(self._model, decoder, self._batch, words, 0)
    self._params = {'adapter': adapter, 'decoder': decoder.params}

  def measure(self) -> dict:
    """All figures of the line."""
    soft = self._model.adapter.num_task_tokens
    soft += 0 if self._text else len(gin.query_parameter('TemplateReadout.layout'))
    found = {'tokens': float(soft + (self._inputs[2] > 0).sum(1).mean())}
    # More text at once would not fit: attention of all tokens to all.
    fit = max(_MOST_TOKENS // self._inputs[2].shape[1], 1)
    sizes = {min(size, fit) for size in self._kind.answer_sizes}
    answers = [self._answer(size) for size in sorted(sizes)]
    if answers:
      found['answer'] = min(answers, key=lambda row: row['seconds_a_user'])
    if self._kind.train_size:
      found['train'] = self._train(min(self._kind.train_size, fit), -1)
    if self._kind.adapter_size:
      found['train_without_decoder'] = self._train(self._kind.adapter_size, 0)
    return found

  def _rows(self, x, size):
    return np.resize(x, (size, *x.shape[1:]))  # repeats the users

  def _answer(self, size):
    history, mask, prompt = (self._rows(x, size) for x in self._inputs)
    prompt = prompt if self._text else prompt[0]  # the same for all users
    module, tuned = stack.unrolled(self._model.decoder, self._params['decoder'])
    model, task = self._model.clone(decoder=module), generate.Task(-1, _ANSWER)

    def answer(params, history, mask, prompt):
      soft = generate.soft_prompt(model, params, history, mask)
      return generate.greedy(model, params, soft, Prompts(prompt, prompt > 0), task)

    params = jax.device_put({**self._params, 'decoder': tuned})
    return timed(jax.jit(answer), (params, history, mask, prompt), size)

  def _train(self, size, number):
    """An update of the whole adapter under the loss of a stage of the recipe."""
    stage = gin.query_parameter('train.stages')[number].scoped_configurable_fn()
    stage = dataclasses.replace(stage, batch_size=size, trainable=('adapter/.*',))
    rng = np.random.default_rng(0)
    targets = rng.integers(1, 1000, (size, _ANSWER)).astype(np.int32)
    batch = {key: self._rows(x, size) for key, x in self._batch.items()} | {
      'decoder_target_tokens': targets,
      'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
      'decoder_loss_weights': np.ones_like(targets),
      'answer_slots': np.zeros((size, 6), np.int32),
      'history_statistics': np.zeros((size, self._statistics), np.float32),
    }
    steps = make_steps(self._model, stage)
    trained, frozen = freezing.split_params(self._params, stage.trainable)
    frozen = jax.device_put(frozen)
    # All of the results are asked for: nothing is optimized away.
    arguments = (trained, steps.optimizer.init(trained), frozen, batch)
    return timed(jax.jit(lambda *args: steps.update(*args)), arguments, size)


def timed(function, arguments, users: int) -> dict:
  """Seconds a user and peak memory of a call, compiled before."""
  compiled = function.lower(*arguments).compile()
  # Linux forgets the peak so far: reading the weights takes more than using them.
  pathlib.Path('/proc/self/clear_refs').write_text('5')
  times = []
  while len(times) < 4 and sum(times) < 20:
    started = time.perf_counter()
    jax.block_until_ready(compiled(*arguments))
    times.append(time.perf_counter() - started)
  status = pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1]
  return {
    'users': users,
    'seconds_a_user': float(np.median(times[1:] or times)) / users,
    'peak_memory_gb': int(status.split()[0]) / 1e6,
  }


if __name__ == '__main__':
  main()
