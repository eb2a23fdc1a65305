"""Makes SeqIO tasks and mixtures of all questions that a recipe asks.

Each question has a task for each use, such as `movielens_like_v1.asked`:

- `asked` is for training: examples with an answer or, of a question about users, random
  parts of their histories with the label of the part.
- `taught` is for stages with `Stage.teach`, which teach the decoder to read drafts:
  lists are drawn at random.
- `whole` is for answers: of a question about users it asks about the stored history.

The mixture `questions.asked` has all tasks of a use, at the rates that gin sets. All of
its examples have the same features: the number of the question, an item that is asked
about (any, if a question is about none), and slots that are filled up with -1. Known
interactions are of the example's own user, so that every draft can learn from all.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import gin
import numpy as np
import seqio
import tensorflow as tf

from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.adapters.question_drafts import QuestionDrafts, draft_forms
from persoma_tf.answer_form import AnswerTemplate
from persoma_tf.answer_template import Draft
from persoma_tf.setting_types import Amount, Count
from tasks import example_features, examples, question_examples
from tasks.answers.choice import Choice
from tasks.answers.example_question import ExampleQuestion
from tasks.answers.text import Text
from tasks.choice_prediction import choice_draft, choice_template
from tasks.dataset_question import asked_question, asked_questions, asking
from tasks.example_tasks import answer_shares, example_lengths
from tasks.feature_room import Room
from tasks.genre_prediction import answer_template, feature_lengths
from tasks.histories import HistorySource, data_folders, load_genres
from tasks.item_statistics import interaction_vectors
from tasks.metrics import genre_scores
from tasks.questions import AnyQuestion
from tasks.task_features import ASKED, ASKED_FEATURE, EXAMPLE_FEATURES
from tasks.text_prediction import text_draft, text_slots, text_template, with_words
from tasks.vector_features import look_up_of

Use = Literal['asked', 'taught', 'whole']
_NUMBER, _SLOTS = 'question', 'answer_slots'
_NO_SEED = np.zeros(2, np.int32)  # of whole histories, of which nothing is drawn
_INTEGERS = seqio.PassThroughVocabulary(1)
_FEATURES = {
  **EXAMPLE_FEATURES,
  _NUMBER: seqio.Feature(_INTEGERS, add_eos=False),
  ASKED: ASKED_FEATURE,
}


@gin.configurable
def question_mixture(use: Use = 'asked', rates: Mapping[str, Amount] = {}) -> str:
  """Registers the mixture of all questions of the recipe, and returns its name.

  Args:
    use: which tasks, see the top of this module.
    rates: rate of each question's task; 1 for those that are not named.

  Raises:
    ValueError: a rate is of no question.
  """
  mixture = f'questions.{use}'
  if mixture in seqio.MixtureRegistry.names():  # perhaps of another recipe
    seqio.MixtureRegistry.remove(mixture)
  of = _for_each('question_mixture.rates', rates)
  tasks = [(question_task(name, use), of[name]) for name in of]
  seqio.MixtureRegistry.add(mixture, tasks)
  return mixture


@gin.configurable
def taught_mixture() -> str:
  """Registers the mixture that teaches to read drafts, and returns its name.

  Raises:
    ValueError: see `question_mixture`.
  """
  return question_mixture('taught')


@gin.configurable
def question_task(name: str = gin.REQUIRED, use: Use = 'whole') -> str:
  """Registers the task of one of the recipe's questions, and returns its name.

  What is asked is found when the task is read.

  Args:
    name: name of the question.
    use: what for, see the top of this module.
  """
  task = f'{name}.{use}'
  if task not in seqio.TaskRegistry.names():
    seqio.TaskRegistry.add(
      task,
      source=QuestionSource(name),
      preprocessors=[
        functools.partial(_make_examples, name=name, use=use),
        seqio.preprocessors.append_eos,
      ],
      output_features=_FEATURES,
      postprocess_fn=functools.partial(_parse, name=name),
      metric_fns=[functools.partial(_scores, name=name)],
      shuffle_buffer_size=1,  # the source shuffles
    )
  return task


@gin.configurable
def question_lengths(known: Count = 0) -> dict[str, int]:
  """Returns the padded length of each feature: the longest of all questions.

  Args:
    known: E, number of interactions in each example whose categories and values are
      told, for `Stage.category_weight` and `Stage.value_weight`.
  """
  longest: dict[str, int] = {_NUMBER: 1}
  for name in asked_questions():
    with asking(name):
      question = asked_question()
      for feature, length in _kind_of(question).lengths(question, known).items():
        longest[feature] = max(length, longest.get(feature, 0))
  longest.pop('history_statistics', None)
  return longest


@gin.configurable
def question_forms() -> dict[str, AnswerTemplate]:
  """Returns the form of each question's draft, for `train.answer`."""
  forms = {}
  for name in asked_questions():
    with asking(name):
      forms[name] = _kind_of(asked_question()).form()
  return forms


@gin.configurable
def question_drafts(weights: Mapping[str, Amount] = {}) -> QuestionDrafts:
  """Returns the draft modules of all questions, for `build.draft`.

  Args:
    weights: weight of each question's losses; 1 for those that are not named.

  Raises:
    ValueError: a weight is of no question.
  """
  of = _for_each('question_drafts.weights', weights)
  drafts, forms = [], draft_forms()
  for name in of:
    with asking(name):
      make = _kind_of(asked_question()).draft
      drafts.append(make(name=name, **forms[name]) if name in forms else None)
  return QuestionDrafts(tuple(of), tuple(drafts), tuple(of.values()))


class QuestionSource(HistorySource):
  """Gives SeqIO the histories, or the examples, of one of the recipe's questions."""

  def __init__(self, name: str):
    """Makes the source of the question of this name."""
    super().__init__(self._read)
    self._name = name

  def _read(self, split, shuffle_files, seed=None):
    with asking(self._name):
      return self._source().get_dataset(split, shuffle_files, seed)

  def _source(self):
    about_examples = isinstance(asked_question(), ExampleQuestion)
    return question_examples.AnsweredSource() if about_examples else HistorySource()

  def records(self, split: str):
    """Returns the records of a split; raises as those of the kind do."""
    with asking(self._name):
      return self._source().records(split)

  def parse(self, record: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses a record."""
    with asking(self._name):
      return self._source().parse(record)


def _for_each(setting, given: Mapping[str, float]) -> dict[str, float]:
  """Returns a number for each question, 1 where none is given."""
  names = asked_questions()
  if unknown := [*given.keys() - names.keys()]:
    raise ValueError(f'{setting} has {unknown}: expected some of {list(names)}')
  return {name: float(given.get(name, 1.0)) for name in names}


class _Kind(NamedTuple):
  """Holds what the mixture must know of a kind of question.

  Attributes:
    form: returns the form of the asked question's draft.
    draft: function (name, fields of the form) that makes the draft module.
    lengths: function (question, E) that returns the padded length of each feature.
    maker: function (room, draws) that returns a function of an example; `draws` for
      random answers, where the kind has any.
  """

  form: Callable[[], AnswerTemplate]
  draft: Callable[..., Draft]
  lengths: Callable[[AnyQuestion, int], dict[str, int]]
  maker: Callable[[Room, bool], examples.MakeExample]


def _kind_of(question: AnyQuestion) -> _Kind:
  if isinstance(question, Text):
    lengths = lambda own, known: example_lengths(own, known) | {_SLOTS: text_slots()}
    return _Kind(text_template, text_draft, lengths, lambda room, _: with_words(room))
  if isinstance(question, Choice):
    make = lambda room, _: example_features.of_question(room)
    return _Kind(choice_template, choice_draft, _choice_lengths, make)
  lengths = lambda _, known: feature_lengths(known=known)
  return _Kind(answer_template, OptionQueries, lengths, _lists_maker)


def _choice_lengths(question: Choice, known: int) -> dict[str, int]:
  slots = len(question.slot_options.first_words)
  return example_lengths(question, known) | {_SLOTS: slots}


def _lists_maker(room: Room, draws: bool) -> examples.MakeExample:
  make = examples.with_random_answers if draws else examples.from_vectors
  return make(room, draw=_draw_own)


def _make_examples(dataset, name: str, use: Use, sequence_length=None):
  """Makes the examples of a question; see `examples.parts_of_histories`."""
  with asking(name):
    about_users = not isinstance(asked_question(), ExampleQuestion)
    whole = about_users and use == 'whole'
    make = examples.whole_histories if whole else examples.parts_of_histories
    maker = functools.partial(_maker, name, use == 'taught')
    task = f'{name}.{use}'
    return make(dataset, maker, task=task, sequence_length=sequence_length)


def _maker(name: str, draws: bool, room: Room) -> examples.MakeExample:
  """Returns a function that makes an example with the features of all questions."""
  asked = asked_questions()
  make = _kind_of(asked[name]).maker(room, draws)
  number, vectors = [*asked].index(name), interaction_vectors()
  asks_item = any(
    isinstance(x, ExampleQuestion) and x.asks_item for x in asked.values()
  )
  look_up = look_up_of(vectors, room)

  def make_example(record, *seed):
    if isinstance(asked[name], ExampleQuestion) and not seed:
      seed = (tf.constant(_NO_SEED),)
    example = make(record, *seed)
    example.pop('history_statistics', None)
    slots = example[_SLOTS]
    more = tf.maximum(room.lengths.get(_SLOTS, 0) - tf.shape(slots)[0], 0)
    example[_SLOTS] = tf.pad(slots, [[0, more]], constant_values=-1)
    example[_NUMBER] = tf.constant([number], tf.int32)
    if asks_item and ASKED not in example:
      example |= look_up('asked', tf.zeros([0, vectors.num_of_item], tf.int32))
    return example

  return make_example


def _draw_own(source, size, history, user, liked, disliked, seed=_NO_SEED):
  """Draws known interactions of a history."""
  del liked, disliked
  return example_features.draw_shown(source, size, history, seed, user)


def _parse(output: str, name: str, **_):
  """Parses an answer for SeqIO's metrics."""
  question = asked_questions()[name]
  if isinstance(question, ExampleQuestion):
    return question.parse(output)
  return question.parse(output, load_genres(data_folders().histories_dir).names)


def _scores(targets: Sequence, predictions: Sequence, name: str) -> dict[str, float]:
  """Computes the scores of a question's answers, for SeqIO."""
  if isinstance(asked_questions()[name], ExampleQuestion):
    return answer_shares('accuracy', targets, predictions)
  return genre_scores(targets, predictions)
