"""The vocabulary of a task's answers, and what it makes of the form of an answer."""

import logging

import seqio

from persoma_tf import recipes
from persoma_tf.decoders import LoadedDecoder
from persoma_tf.soft_prompt import SLOT, AnswerTemplate

logger = logging.getLogger(__name__)


def vocabulary_of(task: str) -> seqio.Vocabulary:
  """Returns the vocabulary of a task's answers.

  Raises:
    ValueError: there is no such task; tells those that there are.
  """
  known = sorted({*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()})
  if task not in known:
    raise ValueError(
      f'there is no task {task!r}; registered are {", ".join(known)}: does the recipe '
      'import the module that registers the task?'
    )
  return seqio.get_mixture_or_task(task).output_features['targets'].vocabulary


def check_vocabulary(vocabulary: seqio.Vocabulary, decoder: LoadedDecoder) -> None:
  """Checks that a decoder knows a vocabulary: ids mean nothing to that of another.

  Raises:
    ValueError: the vocabulary has ids that the decoder has not, or far fewer.
  """
  ours, theirs = vocabulary.vocab_size, decoder.vocab_size
  message = (
    f'the task has a vocabulary of {ours:,} tokens, but the decoder {decoder.name} '
    f'has {theirs:,}; set task_vocabulary.decoder to the decoder that build.decoder '
    'names'
  )
  if ours > theirs or ours < 0.9 * theirs:
    raise ValueError(message)
  if ours < 0.99 * theirs:  # some decoders are padded by a few rows
    logger.warning(message)


def bind_template(answer: AnswerTemplate, task: str) -> list[list[int]]:
  """Tells the readout the layout of the answer's form in tokens.

  Args:
    answer: the form.
    task: whose vocabulary it is written in.

  Returns:
    Token ids of the form's words.
  """
  vocabulary = vocabulary_of(task)
  encode = lambda part: [SLOT] if part is None else vocabulary.encode(part)
  layout = tuple(token for part in answer.parts for token in encode(part))
  recipes.bind_parameter('TemplateReadout.layout', layout)
  recipes.bind_parameter('TemplateReadout.num_words', len(answer.words))
  return [vocabulary.encode(word) for word in answer.words]
