"""Checks the vocabulary of a task, and encodes the texts that a recipe names with it.

These are the form of answers and the texts around the soft prompt.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import gin
import seqio

from persoma_tf import prompt_parts, recipes
from persoma_tf.adapters.asked_item import AskedItem
from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.adapters.question_drafts import draft_forms
from persoma_tf.adapters.value_regression import ValueRegression
from persoma_tf.answer_form import AnswerTemplate
from persoma_tf.answer_template import SLOT
from persoma_tf.decoders import LoadedDecoder
from persoma_tf.soft_prompt import TemplateReadout
from persoma_tf.tokenizers.plain_text import continued

logger = logging.getLogger(__name__)


def tasks_of(name: str) -> list[seqio.Task]:
  """Returns the tasks of a mixture, or the task of this name.

  Raises:
    ValueError: the task is not registered; the message names the registered tasks.
  """
  found = _registered(name)
  return list(found.tasks) if isinstance(found, seqio.Mixture) else [found]


def longest_prompt(tasks: Collection[seqio.Task]) -> int:
  """Returns the length of the longest prompt among the first examples of tasks."""
  first = lambda task: next(
    task.get_dataset(None, 'train', shuffle=False).as_numpy_iterator()
  )
  return max(len(first(task)['inputs']) for task in tasks)


def shared_prompt(task: str, batch: Mapping) -> str | None:
  """Returns the prompt of a task; None if each user has a different one.

  Args:
    task: name of the task.
    batch: training examples of the task.
  """
  tokens, mask = batch['encoder_input_tokens'], batch['encoder_input_mask'] > 0
  if (tokens != tokens[0]).any() or (mask != mask[0]).any():
    return None
  vocabulary = _registered(task).output_features['inputs'].vocabulary
  return vocabulary.decode(tokens[0][mask[0]].tolist())


def vocabulary_of(task: str) -> seqio.Vocabulary:
  """Returns the vocabulary of a task's answers.

  Raises:
    ValueError: the task is not registered; the message names the registered tasks.
  """
  return _registered(task).output_features['targets'].vocabulary


def _registered(task):
  known = sorted({*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()})
  if task not in known:
    raise ValueError(
      f'there is no task {task!r}; registered are {", ".join(known)}: does the recipe '
      'import the module that registers the task?'
    )
  return seqio.get_mixture_or_task(task)


def check_vocabulary(vocabulary: seqio.Vocabulary, decoder: LoadedDecoder) -> None:
  """Checks that a vocabulary fits a decoder, by size; warns if it may not fit.

  Raises:
    ValueError: the vocabulary has more ids than the decoder, or less than 90 % of them.
  """
  ours, theirs = vocabulary.vocab_size, decoder.vocab_size
  message = (
    f'the task has a vocabulary of {ours:,} tokens, but the decoder {decoder.name} '
    f'has {theirs:,}; set task_vocabulary.decoder to the decoder that build.decoder '
    'names'
  )
  if ours > theirs or ours < 0.9 * theirs:
    raise ValueError(message)
  if ours < 0.99 * theirs:  # some decoders pad their vocabulary by a few rows
    logger.warning(message)


def bind_order(task: str) -> tuple:
  """Gives the model the tokens of the texts in `build.prompt_order`, through gin.

  Args:
    task: name of the task whose vocabulary encodes the texts.

  Returns:
    Parts that stand before an answer, with texts as they are.

  Raises:
    ValueError: the order is wrong, see `prompt_parts.as_texts`, or the task's
      vocabulary cannot encode it.
  """
  bound = gin.get_bindings('build', resolve_references=False)
  order = bound.get('prompt_order', 'soft_first')
  if not isinstance(order, str | tuple | list):  # a macro
    order = gin.get_bindings('build')['prompt_order']
  if isinstance(order, str) and order in prompt_parts.ORDERS:
    if 'prompt_tokens' in bound:  # of a config.gin with another order
      recipes.bind_parameter('build.prompt_tokens', None)
    return prompt_parts.ORDERS[order]
  vocabulary = vocabulary_of(task)
  if not hasattr(vocabulary, 'encode_signs'):
    raise ValueError(
      f'build.prompt_order has texts, but the task {task} has a vocabulary of the '
      f"class {type(vocabulary).__name__}: expected a decoder's, as DECODER names it"
    )
  texts = prompt_parts.as_texts(order, vocabulary.chat)
  tokens = prompt_parts.as_tokens(texts, vocabulary.encode_signs)
  for text, ids in zip(texts, tokens, strict=True):
    if not isinstance(ids, str):
      vocabulary.notice_unknown(text, ids)
  recipes.bind_parameter('build.prompt_tokens', tokens)
  return texts


def bind_template(
  answer: AnswerTemplate | Mapping[str, AnswerTemplate] | None, task: str
) -> list[list[int]] | dict[str, list[list[int]]] | None:
  """Gives readout and draft the layout of an answer in tokens, through gin.

  Every part has the tokens that it has in a whole answer.

  Args:
    answer: form of the answer; None for none; of several questions the form of each
      that has a draft, by name.
    task: name of the task whose vocabulary encodes the form.

  Returns:
    Token ids of each word of the form, or of each form; None without a form.
  """
  if answer is None:
    return None
  encode = vocabulary_of(task).encode
  if isinstance(answer, Mapping):
    forms = {name: _form(x, encode) for name, x in answer.items()}
    recipes.bind_parameter(f'{draft_forms.__name__}.forms', forms)
    return {name: _word_tokens(x, encode) for name, x in answer.items()}
  form = _form(answer, encode)
  for module in (TemplateReadout, OptionQueries, AskedItem, ValueRegression):
    for field in ('layout', 'num_words'):
      recipes.bind_parameter(f'{module.__name__}.{field}', form[field])
  for field in ('first_words', 'num_options'):
    recipes.bind_parameter(f'OptionQueries.{field}', form[field])
  return _word_tokens(answer, encode)


def target_words(
  answer: AnswerTemplate, words: Sequence[Sequence[int]], task: str
) -> tuple[list[list[int]], list[list[int]]]:
  """Returns the tokens of words as targets have them, for `Stage.soft_targets`.

  Args:
    answer: form of the answer.
    words: token ids of each word of the form.
    task: name of the task whose vocabulary encodes the form.

  Returns:
    (token ids of each word at the beginning of an answer, and of each behind others). A
    word that is a whole answer has its end. Both are empty for a form without `begins`.
  """
  if not answer.begins:
    return [], []
  vocabulary, (before, texts) = vocabulary_of(task), answer.begins
  first = [continued(vocabulary.encode, [before], text) for text in texts]
  eos = [vocabulary.eos_id]
  if answer.end is None:
    return [[*ids, *eos] for ids in first], []
  later = [[*ids] for ids in words]
  first[answer.end] = later[answer.end] = eos
  return first, later


def _form(answer: AnswerTemplate, encode: Callable) -> dict[str, Any]:
  """Returns the fields of `Template` and `OptionQueries` that an answer decides."""
  layout, before = [], [''] * len(answer.words)  # each with another word in its slots
  for part in answer.parts:
    layout += [SLOT] if part is None else continued(encode, before, part)
    filled = answer.words if part is None else [part] * len(before)
    before = [text + more for text, more in zip(before, filled, strict=True)]
  return {
    'layout': tuple(layout),
    'num_words': len(answer.words),
    'first_words': answer.options.first_words,
    'num_options': answer.options.number,
  }


def _word_tokens(answer: AnswerTemplate, encode: Callable) -> list[list[int]]:
  """Returns the token ids of each word, as it follows the first part."""
  first = [answer.parts[0] or '']
  return [continued(encode, first, word) for word in answer.words]
