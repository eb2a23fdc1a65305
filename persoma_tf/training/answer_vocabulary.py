"""Checks the vocabulary of a task's answers, and encodes the form of answers."""

import logging

import seqio

from persoma_tf import recipes
from persoma_tf.decoders import LoadedDecoder
from persoma_tf.soft_prompt import SLOT, AnswerTemplate
from persoma_tf.tokenizers.plain_text import continued

logger = logging.getLogger(__name__)


def vocabulary_of(task: str) -> seqio.Vocabulary:
  """Returns the vocabulary of a task's answers.

  Raises:
    ValueError: the task is not registered; the message names the registered tasks.
  """
  known = sorted({*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()})
  if task not in known:
    raise ValueError(
      f'there is no task {task!r}; registered are {", ".join(known)}: does the recipe '
      'import the module that registers the task?'
    )
  return seqio.get_mixture_or_task(task).output_features['targets'].vocabulary


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


def bind_template(answer: AnswerTemplate, task: str) -> list[list[int]]:
  """Gives the readout the layout of an answer in tokens, through gin.

  Every part has the tokens that it has in a whole answer.

  Args:
    answer: form of the answer.
    task: name of the task whose vocabulary encodes the form.

  Returns:
    Token ids of each word of the form.
  """
  encode = vocabulary_of(task).encode
  layout, before = [], [''] * len(answer.words)  # each with another word in its slots
  for part in answer.parts:
    layout += [SLOT] if part is None else continued(encode, before, part)
    filled = answer.words if part is None else [part] * len(before)
    before = [text + more for text, more in zip(before, filled, strict=True)]
  recipes.bind_parameter('TemplateReadout.layout', tuple(layout))
  recipes.bind_parameter('TemplateReadout.num_words', len(answer.words))
  first = [answer.parts[0] or '']
  return [continued(encode, first, word) for word in answer.words]
