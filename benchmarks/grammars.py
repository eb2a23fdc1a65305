"""Measures grammars of lists of many names: to make them, to hold them, to answer.

    python -m benchmarks.grammars

A name is two words, each one token of SmolLM2, drawn from all such words: thousands of
tokens may then begin one. For each number of names and of places in a list, in a
process of its own: the product's grammar, and where it ends within minutes what the
product had before (`benchmarks.subset_construction`).

Answers are greedy, of a batch of 32 behind soft prompts of an untrained quickstart;
the quicker of two passes after a first one counts. Processor time is that of all
threads, and hardly depends on what else the machine does. No compiled code is read from
a cache. Writes `benchmarks/results/grammars.json`; rows in it are not measured again.
"""

import argparse
import dataclasses
import itertools
import json
import math
import pathlib
import re
import sys
import time
from collections.abc import Mapping, Sequence

import gin
import jax
import numpy as np
import seqio

from benchmarks.decoding import machine, peak_memory_gb
from benchmarks.many_options_draft import make_batch
from benchmarks.processes import last_line
from benchmarks.subset_construction import Automaton, lists_automaton
from persoma_tf import model as persoma
from persoma_tf import operand_types, recipes
from persoma_tf.answer_form import AnswerTemplate
from persoma_tf.decoders import stack
from persoma_tf.inference import generate
from persoma_tf.inference.grammar import Grammar
from persoma_tf.model import Prompts
from persoma_tf.parameters import quantization
from persoma_tf.training import training_run  # noqa: F401  registers what recipes set
from persoma_tf.training.answer_vocabulary import bind_template, vocabulary_of
from persoma_tf.training.initial_adapter import init_adapter
from pipelines.common import job
from tasks.answer_grammar import answer_grammar
from tasks.dataset_question import asked_question
from tasks.questions import Question

_RESULTS = pathlib.Path(__file__).parent / 'results' / 'grammars.json'
_SIZES, _MOST = (20, 100, 1000, 10_000), (3, 6)
_FEW_LISTS = 25_000  # for which the old automaton ends within minutes
_BATCH, _ITEMS, _WIDTH, _DRAFTED, _PASSES = 32, 50, 768, 18, 2
_SEED = 0


def main() -> None:
  """Measures row by row, each in a process of its own, and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--out', type=pathlib.Path, default=_RESULTS)
  parser.add_argument('--row', help='internal: construction,names,most')
  flags = parser.parse_args()
  if flags.row:
    made, names, most = flags.row.split(',')
    print(json.dumps(measure(made, int(names), int(most))))
    return
  rows = json.loads(flags.out.read_text())['rows'] if flags.out.exists() else {}
  for row in wanted_rows():
    if (name := name_of(*row)) not in rows:
      own = f'--row={",".join(map(str, row))}'
      rows[name] = last_line([sys.executable, '-m', 'benchmarks.grammars', own])
      flags.out.write_text(json.dumps(about(rows), indent=2) + '\n')


def wanted_rows() -> list[tuple[str, int, int]]:
  """Lists (construction, names, places in a list)."""
  found = []
  for most in _MOST:
    for names in _SIZES:
      found.append(('trie', names, most))
      if lists_so_far(names, most) <= _FEW_LISTS:
        found.append(('subsets', names, most))
  return found


def name_of(made: str, names: int, most: int) -> str:
  """Returns the name of a row in the results."""
  return f'{made}, {names} names, lists of {most}'


def lists_so_far(names: int, most: int) -> int:
  """Counts the sets of names that a list can have so far: states of the automaton."""
  return sum(math.comb(names, size) for size in range(min(most, names)))


def about(rows: Mapping[str, Mapping]) -> dict:
  """Returns the content of the results file."""
  return {
    'command': 'python -m benchmarks.grammars',
    'machine': machine(),
    'versions': job.versions('jax', 'flax', 'tokenizers'),
    'seed': _SEED,
    'settings': {'batch': _BATCH, 'decoder': 'smollm2-135m-instruct'},
    'rows': {
      x: rows[x] for x in itertools.starmap(name_of, wanted_rows()) if x in rows
    },
  }


def measure(made: str, names: int, most: int) -> dict:
  """Measures one row, in this process."""
  jax.config.update('jax_enable_compilation_cache', False)
  nowhere = ["HISTORIES_DIR = ''", "EMBEDDINGS_DIR = ''"]  # no data is read
  recipes.parse_recipes(['runs/quickstart.gin'], nowhere)
  vocabulary = vocabulary_of(gin.query_parameter('train.task'))
  question = dataclasses.replace(asked_question(), most=most)
  drawn = make_names(single_words(vocabulary), names, np.random.default_rng(_SEED))
  construct = {'trie': answer_grammar, 'subsets': lists_automaton}[made]
  started = time.process_time()
  grammar = construct(drawn, vocabulary, question)
  seconds = time.process_time() - started
  task = generate.Task(
    vocabulary.eos_id, longest_answer(drawn, vocabulary, question), grammar
  )
  found = answering(task, vocabulary, drawn[:_DRAFTED])
  found = {'lists_so_far': lists_so_far(names, most), **size_of(grammar), **found}
  return {'processor_seconds_making': seconds, **found}


def size_of(grammar: Grammar | Automaton) -> dict:
  """Counts the states and the bytes of a grammar, and what may come next."""
  arrays = [x for x in grammar if np.ndim(x)]
  states = len(grammar.first) - 1 if isinstance(grammar, Grammar) else len(grammar.next)
  megabytes = sum(x.nbytes for x in arrays) / 1e6
  return {'states': states, 'widest': grammar.width, 'megabytes': megabytes}


def answering(task: generate.Task, vocabulary: seqio.Vocabulary, drafted) -> dict:
  """Measures answers of a batch, without the draft before them, and counts tokens.

  Args:
    task: end, length and grammar of the answers.
    vocabulary: vocabulary of the decoder.
    drafted: a few names, which can fill the slots of the soft prompt.
  """
  question = asked_question()
  words = [f' {name}' for name in (*drafted, *drafted, question.none)]
  template = AnswerTemplate(question.parts, words, question.options(len(drafted)))
  ids = bind_template(template, gin.query_parameter('train.task'))
  model, decoder = persoma.build()
  shape = len(drafted), _BATCH, _ITEMS, _WIDTH
  batch = make_batch(np.random.default_rng(_SEED), *shape)
  adapter = init_adapter(model, decoder, batch, ids, _SEED)
  weights = quantization.converted(decoder.params, operand_types.chosen_type('auto'))
  module, weights = stack.unrolled(model.decoder, weights)
  model = model.clone(decoder=module)
  params = jax.device_put({'adapter': adapter, 'decoder': weights})
  shown = batch['history_embeddings'], batch['history_mask']
  draft = jax.jit(lambda *args: generate.soft_prompt(model, *args))
  soft = jax.block_until_ready(draft(params, *shown))
  prompt = np.array(vocabulary.encode(question.prompt), np.int32)
  arguments = params, soft, Prompts(prompt, np.ones_like(prompt))
  write = jax.jit(lambda *args: generate.greedy(model, *args, task))
  started = time.process_time()
  compiled = write.lower(*arguments).compile()
  compiling = time.process_time() - started
  tokens = np.asarray(compiled(*arguments).tokens)
  walls, seconds = [], []
  for _ in range(_PASSES):
    wall, started = time.perf_counter(), time.process_time()
    jax.block_until_ready(compiled(*arguments))
    walls.append(time.perf_counter() - wall)
    seconds.append(time.process_time() - started)
  return {
    'processor_seconds_compiling': compiling,
    'tokens_a_user': float((tokens != task.eos_id).sum(1).mean() + 1),
    'users_a_second': _BATCH / min(walls),
    'users_a_processor_second': _BATCH / min(seconds),
    'peak_memory_gb': peak_memory_gb(),
  }


def single_words(vocabulary: seqio.Vocabulary) -> list[str]:
  """Lists words that are one token of the vocabulary behind a space, in its order."""
  texts = (vocabulary.decode([token]) for token in range(1, vocabulary.vocab_size))
  return [text[1:] for text in texts if re.fullmatch(r' [a-z]{4,8}', text)]


def make_names(
  words: Sequence[str], number: int, rng: np.random.Generator
) -> tuple[str, ...]:
  """Draws `number` different names of two words."""
  if number > len(words) ** 2 // 2:
    raise ValueError(f'{number} names of two words: there are {len(words)} words')
  found = {}
  while len(found) < number:
    found[' '.join(words[place] for place in rng.integers(len(words), size=2))] = None
  return tuple(found)


def longest_answer(
  names: Sequence[str], vocabulary: seqio.Vocabulary, question: Question
) -> int:
  """Counts the tokens of an answer with the longest name in each place, and its end."""
  longest = max(names, key=lambda name: len(vocabulary.encode(f' {name},')))
  listed = [longest] * question.most
  return len(vocabulary.encode(question.answer(listed, listed))) + 1


if __name__ == '__main__':
  main()
