"""Registers free text as SeqIO tasks, for the questions of dataset files.

`text_v1` asks about the examples that have an answer. `text_text_v1` has the history as
text in the prompt; it is the baseline for soft prompts.

The draft of a text is a guess of its first words, each among the words that the answers
of the training have most often. It tells the decoder what the text is about, and not
how the words go together.
"""

import collections
import functools
import itertools
from collections.abc import Mapping, Sequence

import gin
import numpy as np
import tensorflow as tf

from persoma_tf import recipes
from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.answer_form import AnswerTemplate, Options
from persoma_tf.setting_types import Count, Positive
from tasks import example_features, examples, task_features
from tasks.answers.text import WrittenText
from tasks.choice_prediction import choice_categories
from tasks.dataset_question import asked_about_examples
from tasks.example_tasks import add_example_task, answer_shares, example_lengths
from tasks.feature_room import Room
from tasks.question_examples import stored_answers

_SLOTS = 'answer_slots'
_END = '.'  # what stands in slots behind the end of a text
_UNKNOWN = -1  # label of a slot whose word the draft does not have
_QUERIES = 16


@gin.configurable
def text_slots(number: Positive = 4) -> int:
  """Returns S, the number of words in a draft, for `text_lengths.slots`."""
  return number


@gin.configurable
def text_words(
  words: Mapping[str, Sequence[str]] = {}, most: Positive = 256
) -> tuple[str, ...]:
  """Returns the words that the draft of the asked question knows.

  Args:
    words: for each question the words, which the first call keeps, so that a model has
      the same words wherever it is asked; without them those of the folder's training.
    most: largest number of words; the most frequent are taken.

  Raises:
    FileNotFoundError, ValueError: there are no examples for training.
  """
  name = asked_about_examples().name
  if name in words:
    return tuple(words[name])
  texts = (answer.split()[: text_slots()] for answer in stored_answers('train'))
  counts = collections.Counter(itertools.chain.from_iterable(texts))
  ordered = sorted(counts, key=lambda word: (-counts[word], word))
  found = {**words, name: tuple(ordered[:most])}
  recipes.bind_parameter('text_words.words', found)
  return text_words()  # config.gin has the words of the last call


@gin.configurable
def text_template() -> AnswerTemplate:
  """Returns the form of a draft, with slots for its first words.

  What stands in the slots behind a text's end is a word, too.
  """
  question, words = asked_about_examples(), text_words()
  return AnswerTemplate(
    question.draft_parts(text_slots()),
    [_END, *(f' {word}' for word in words)],
    Options(number=choice_categories() or _QUERIES),
    begins=(question.before, [_END, *map(question.target, words)]),
    end=0,
  )


@gin.configurable
def text_draft(**form) -> OptionQueries:
  """Returns the draft module of the recipe's question, for `build.draft`.

  The categories of items query the history, or without any some free queries, and all
  of them together tell the words. Words that query it themselves learned the texts of
  a few hundred users by heart, and knew less of others (docs/quality.md).

  Args:
    **form: fields of the module that gin does not set, of one of several questions.
  """
  return OptionQueries(of_categories=bool(choice_categories()), hard=False, **form)


@gin.configurable
def text_lengths(known: Count = 0, slots: Count = 0) -> dict[str, int]:
  """Returns the padded length of each feature, see `example_lengths`.

  Args:
    known: E, number of interactions in each example whose categories and values are
      told, for `Stage.category_weight` and `Stage.value_weight`.
    slots: S, see `text_slots`, for `Stage.slot_weight`; 0 without a draft.
  """
  lengths = example_lengths(asked_about_examples(), known)
  return lengths | ({_SLOTS: slots} if slots else {})


def with_words(room: Room = Room()) -> examples.MakeExample:  # noqa: B008  immutable
  """Returns a function that makes an example, with the words of its draft.

  Args:
    room: room for an example.

  Raises:
    ValueError: see `example_features.of_question`.
  """
  make = example_features.of_question(room)
  if not room.lengths.get(_SLOTS):
    return make
  slots = text_slots()
  numbers = {word: at for at, word in enumerate(text_words(), 1)}  # 0 is the end

  def label(answer):
    words = answer[0].decode().split()[:slots]
    found = [numbers.get(word, _UNKNOWN) for word in words]
    return np.array(found + [0] * (slots - len(found)), np.int32)

  def make_example(record, seed):
    found = tf.numpy_function(label, [record['answer']], tf.int32)
    return make(record, seed) | {_SLOTS: tf.ensure_shape(found, [slots])}

  return make_example


def parse_text(output: str, **_) -> WrittenText:
  """Parses an answer for SeqIO's metrics."""
  return asked_about_examples().parse(output)


def text_scores(
  targets: Sequence[WrittenText], predictions: Sequence[WrittenText]
) -> dict[str, float]:
  """Computes the share of answers that are those of the data, for SeqIO.

  Args:
    targets: parsed labels.
    predictions: parsed model answers, aligned with `targets`.

  Returns:
    {'exact_match', 'parse_failures'}.
  """
  return answer_shares('exact_match', targets, predictions)


_FEATURES = task_features.EXAMPLE_FEATURES
_add = functools.partial(
  add_example_task, features=_FEATURES, parse=parse_text, scores=text_scores
)
_add('text_v1', with_words)
_add('text_text_v1', example_features.with_text_history)
