"""Measures answers kept to generated options, for `benchmarks.many_options`.

A name has two words, each of which is one token of the decoder. The automaton of the
answers is compiled from the same phrases as the product's (`tasks.answer_grammar`), but
a list may name an option twice. The product's remembers which options a list has, a
state for each set of them: `remembered_lists` tells how many that would be. Where these
are few, the product's own automaton is measured, too.
"""

import itertools
import math
import re
import time
from collections.abc import Mapping, Sequence

import gin
import jax
import numpy as np
import seqio

from benchmarks.decoding import peak_memory_gb
from benchmarks.many_options_draft import timed
from persoma_tf import model as persoma
from persoma_tf import operand_types
from persoma_tf.answer_form import AnswerTemplate
from persoma_tf.decoders import stack
from persoma_tf.inference import generate, grammar
from persoma_tf.model import Prompts
from persoma_tf.parameters import quantization
from persoma_tf.tokenizers.plain_text import encode_after
from persoma_tf.training.answer_vocabulary import bind_template, vocabulary_of
from persoma_tf.training.initial_adapter import init_adapter
from tasks.answer_grammar import answer_grammar
from tasks.dataset_question import asked_question
from tasks.questions import Question

_FEW_LISTS = 1000  # for which the product's automaton is compiled within seconds


def measure(batch: Mapping[str, np.ndarray], options: int, passes: int) -> dict:
  """Measures answering behind soft prompts of a batch, and sizes the automaton.

  Args:
    batch: examples, of which the histories are read.
    options: G.
    passes: number of passes, of which the median counts.
  """
  task, question = gin.query_parameter('train.task'), asked_question()
  vocabulary = vocabulary_of(task)
  names = make_names(single_words(vocabulary), options, np.random.default_rng(0))
  words = [f' {name}' for name in (*names, *names, question.none)]
  template = AnswerTemplate(question.parts, words, question.options(options))
  ids = bind_template(template, task)
  answering = Answering(batch, ids, vocabulary, question)
  lists = remembered_lists(options, question.most)
  found = {'remembered_lists': lists}
  makers = {'': lambda: list_grammar(names, vocabulary, question)}
  if lists <= _FEW_LISTS:
    makers[', no name twice'] = lambda: answer_grammar(names, vocabulary, question)
  for title, make in makers.items():
    started = time.perf_counter()
    made = make()
    seconds = time.perf_counter() - started
    found |= {f'{name}{title}': x for name, x in size_of(made, seconds).items()}
    times = answering.measure(made, longest_answer(names, vocabulary, question), passes)
    found |= {f'{name}{title}': x for name, x in times.items()}
  return found | {'peak_memory_gb': peak_memory_gb()}


class Answering:
  """Holds soft prompts of a batch, and the decoder behind them, in its fastest form."""

  def __init__(self, batch: Mapping, words, vocabulary, question: Question):
    """Builds the model of the recipe that gin has read, and drafts.

    Args:
      batch: examples, of which the histories are read.
      words: token ids of each word that can fill a slot.
      vocabulary: vocabulary of the decoder.
      question: question that is asked.
    """
    model, decoder = persoma.build()
    adapter = init_adapter(model, decoder, batch, words, 0)
    weights = quantization.converted(decoder.params, operand_types.chosen_type('auto'))
    module, weights = stack.unrolled(model.decoder, weights)
    self._model = model.clone(decoder=module)
    self._params = jax.device_put({'adapter': adapter, 'decoder': weights})
    shown = batch['history_embeddings'], batch['history_mask']
    draft = jax.jit(lambda *args: generate.soft_prompt(self._model, *args))
    self._soft = jax.block_until_ready(draft(self._params, *shown))
    prompt = np.array(vocabulary.encode(question.prompt), np.int32)
    self._prompt = Prompts(prompt, np.ones_like(prompt))
    self._eos_id = vocabulary.eos_id

  def measure(self, automaton: grammar.Grammar, longest: int, passes: int) -> dict:
    """Measures a user's answer, without the draft, and counts its tokens."""
    task = generate.Task(self._eos_id, longest, automaton)
    write = lambda *args: generate.greedy(self._model, *args, task)
    arguments = self._params, self._soft, self._prompt
    started = time.perf_counter()
    compiled = jax.jit(write).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - started
    tokens = np.asarray(compiled(*arguments).tokens)
    seconds = timed(lambda: compiled(*arguments), passes)
    return {
      'answer_compile_seconds': compile_seconds,
      'tokens_a_user': float((tokens != self._eos_id).sum(1).mean() + 1),
      'seconds_a_user_answering': seconds / len(tokens),
    }


def single_words(vocabulary: seqio.Vocabulary) -> list[str]:
  """Lists words that are one token of the vocabulary behind a space, in its order."""
  texts = (vocabulary.decode([token]) for token in range(1, vocabulary.vocab_size))
  return [text[1:] for text in texts if re.fullmatch(r' [a-z]{4,8}', text)]


def make_names(
  words: Sequence[str], number: int, rng: np.random.Generator
) -> tuple[str, ...]:
  """Draws `number` different names of two words, about √(2 number) of each kind."""
  side = math.isqrt(2 * number) + 1
  chosen = rng.permutation(len(words))[: 2 * side]
  if len(chosen) < 2 * side:
    raise ValueError(f'{number} names need {2 * side} words: there are {len(words)}')
  first, second = ([words[place] for place in part] for part in np.split(chosen, 2))
  pairs = [f'{x} {y}' for x, y in itertools.product(first, second)]
  return tuple(sorted(pairs[place] for place in rng.permutation(len(pairs))[:number]))


def remembered_lists(options: int, most: int) -> int:
  """Counts the lists of an answer that can go on, in any order of their names."""
  return sum(math.comb(options, size) for size in range(min(most, options)))


def list_grammar(
  names: Sequence[str], vocabulary: seqio.Vocabulary, question: Question
) -> grammar.Grammar:
  """Returns the automaton of the answers to a question, in which names may repeat."""
  after = lambda text: tuple(encode_after(vocabulary.encode, question.likes, text))
  ends = (',', question.dislikes, '')
  named = {end: [after(f' {name}{end}') for name in names] for end in ends}

  def choices(state):
    if state is None:
      return [(vocabulary.encode(question.likes), (0, 0))]
    side, size = state
    end, then = (question.dislikes, (1, 0)) if side == 0 else ('', grammar.END)
    phrases = [(phrase, then) for phrase in named[end]]
    if not size:
      phrases.append((after(f' {question.none}{end}'), then))
    if size + 1 < question.most:
      phrases += [(phrase, (side, size + 1)) for phrase in named[',']]
    return phrases

  return grammar.compiled(
    'start', lambda x: choices(None if x == 'start' else x), vocabulary.eos_id
  )


def longest_answer(
  names: Sequence[str], vocabulary: seqio.Vocabulary, question: Question
) -> int:
  """Counts the tokens of an answer with the longest name in each place, and its end."""
  longest = max(names, key=lambda name: len(vocabulary.encode(f' {name},')))
  listed = [longest] * question.most
  return len(vocabulary.encode(question.answer(listed, listed))) + 1


def size_of(automaton: grammar.Grammar, seconds: float) -> dict:
  """Tells the size of an automaton, and the seconds that it took to compile."""
  states, width = automaton.tokens.shape
  return {
    'grammar_seconds': seconds,
    'grammar_states': states,
    'grammar_widest': width,
    'grammar_mb': (automaton.tokens.nbytes + automaton.next.nbytes) / 1e6,
  }
