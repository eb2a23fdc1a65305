"""Genre prediction as SeqIO tasks: MovieLens's, and those of other data sets.

`movielens_genre_prediction_v1` asks about the history as it is stored; its label is
that of the user's full history. `movielens_genre_prediction_subhistories_v1` is for
training: every pass draws another part of each stored history and computes the label
of that part, so that a few hundred users give as many examples as wanted, none of
them contradictory.

Each has a twin with `_text_`, whose prompt is the history itself as text: the baseline
that soft prompts are measured against.

`register` adds the same four tasks with other words (docs/own_data.md). Where the data
lies is set by gin: `data_folders.histories_dir`, `.embeddings_dir`.
"""

import functools
import itertools

import gin
import seqio
import tensorflow as tf

from persoma_tf.soft_prompt import AnswerTemplate
from tasks import item_vectors, questions
from tasks.histories import (
  data_folders,
  load_genres,
  load_rule,
  read_histories,
)
from tasks.metrics import genre_scores
from tasks.schema import SPLITS
from tasks.targets import ExampleSource, make_target
from tasks.text_history import history_limits, load_interactions
from tasks.vocabularies import VOCABULARY


@gin.configurable
def answer_template() -> AnswerTemplate:
  """The answer as the trainer takes it, its words one a class: liked, disliked, none.

  A genre stands among the words twice, because liking it and disliking it are two
  things to tell the decoder.
  """
  names, question = (
    load_genres(data_folders().histories_dir).names,
    questions.asked_question(),
  )
  words = [f' {name}' for name in (*names, *names, question.none)]
  return AnswerTemplate(question.parts, words)


@gin.configurable
def feature_lengths(min_targets: int = 0) -> dict[str, int]:
  """Padded lengths of the features, none of which any example exceeds.

  Args:
    min_targets: room for the answers of other tasks that stand beside this one.

  Raises:
    ValueError: the question has no room for the labels of these histories.
  """
  limits, question = history_limits(), questions.asked_question()
  folder = data_folders().histories_dir
  vectors = 0 if limits.text_tokens else limits.items
  genres = load_genres(folder).names
  question.check(genres, load_rule(folder).top)
  size = lambda text: len(VOCABULARY.encode(text))
  most = sorted(genres, key=lambda name: size(f' {name},'))[-question.most :]
  answers = itertools.starmap(question.answer, itertools.product((most, ()), repeat=2))
  return {
    'inputs': limits.text_tokens + size(question.prompt),
    # One more for the end of the sequence.
    'targets': max(max(map(size, answers)) + 1, min_targets),
    'history_embeddings': vectors,
    'history_mask': vectors,
    'answer_slots': 2 * question.most,
    'history_statistics': 2 * len(genres),
  }


def _with_vector_rows(shown: ExampleSource, *history):
  """An example whose history is given by rows of the vector tables."""
  made = make_target(shown, *history)
  return *made[2:], shown.vectors.rows(made.items, made.ratings)


def _with_text_tokens(shown: ExampleSource, *history):
  """An example whose history stands in the prompt."""
  made = make_target(shown, *history)
  return *made[2:], shown.text.prompt(made.items, made.ratings, shown.limits)


def _features(example, history, seed):
  """The features that both kinds of task have, and what shows the history.

  One call into Python makes all but the vectors, tokens too: a call costs more than
  what is done in it.
  """
  fields = ('history_items', 'history_ratings', 'liked', 'disliked')
  arguments = [history[name] for name in fields] + list(seed)
  types = (tf.int32, tf.int32, tf.float32, tf.int32)
  targets, slots, statistics, shown = tf.numpy_function(example, arguments, types)
  features = {
    'targets': tf.ensure_shape(targets, [None]),
    'answer_slots': tf.ensure_shape(slots, [None]),
    'history_statistics': tf.ensure_shape(statistics, [None]),
    'user_id': history['user_id'],
  }
  return features, shown


def _shown(**how) -> ExampleSource:
  """What examples are made from; `how` shows the history."""
  folder = data_folders().histories_dir
  known = load_genres(folder), load_rule(folder), history_limits()
  return ExampleSource(questions.asked_question(), *known, **how)


def vector_examples(example=_with_vector_rows, prompt=''):
  """A function that asks about a history behind its vectors.

  Args:
    example: (Shown, items, ratings, liked, disliked, *seed) -> targets, slots,
      statistics and rows of the vector tables.
    prompt: the task prompt; '' for the question's.
  """
  vectors = item_vectors.load_item_vectors(data_folders().embeddings_dir)
  shown = _shown(vectors=vectors)
  prompt = prompt or shown.question.prompt
  example = functools.partial(example, shown)
  tables = [tf.constant(table) for table in vectors.tables]

  def ask(history, *seed):
    features, rows = _features(example, history, seed)
    rows = tf.ensure_shape(rows, [None, len(tables)])
    # The one large part of an example is made here, in one piece and without Python.
    vectors = [tf.gather(x, rows[:, column]) for column, x in enumerate(tables)]
    return features | {
      'inputs': tf.constant(VOCABULARY.encode(prompt), tf.int32),
      'history_embeddings': tf.concat(vectors, axis=1),
      'history_mask': tf.ones_like(rows[:, 0]),
    }

  return ask


def _text_examples():
  """A function that asks about a history that stands in the prompt."""
  folders, question = data_folders(), questions.asked_question()
  nouns = item_vectors.load_nouns(folders.embeddings_dir)
  text = load_interactions(folders.histories_dir, nouns, question.prompt)
  example = functools.partial(_with_text_tokens, _shown(text=text))

  def ask(history, *seed):
    features, tokens = _features(example, history, seed)
    return features | {
      'inputs': tf.ensure_shape(tokens, [None]),
      'history_embeddings': tf.zeros([0, 1]),
      'history_mask': tf.zeros([0], tf.int32),
    }

  return ask


def make_examples(
  dataset: tf.data.Dataset, about=vector_examples, of=None
) -> tf.data.Dataset:
  """The task's question about every stored history.

  Args:
    dataset: of `read_histories`.
    about: () -> function that asks about a history.
    of: the question that the task was registered for; None for any.

  Raises:
    ValueError: the recipe asks another one.
  """
  _check_question(of)
  return seqio.map_over_dataset(about())(dataset)


def make_examples_of_parts(
  dataset: tf.data.Dataset, about=vector_examples, of=None
) -> tf.data.Dataset:
  """The task's question about a random part of every stored history; as `ask`."""
  _check_question(of)
  asked = about()
  with_seed = lambda history, seed: asked(history, seed)
  return seqio.map_over_dataset(with_seed, num_seeds=1)(dataset)


def _check_question(of):
  """The targets must have the words of the recipe's template and lengths."""
  if of and of != questions.asked_question():
    raise ValueError(
      f'the task is one of {of.name}, the recipe asks {questions.asked_question().name}: '
      f"expected question.name = '{of.name}' in the recipe, or another train.task"
    )


def parse_answer(output: str, **_) -> questions.Answer:
  """SeqIO postprocessor; unreadable answers are counted by the metric."""
  return questions.asked_question().parse(
    output, load_genres(data_folders().histories_dir).names
  )


_SHUFFLED = seqio.dataset_providers.SHUFFLE_BUFFER_SIZE
_INTEGERS = seqio.PassThroughVocabulary(1)
FEATURES = {
  'inputs': seqio.Feature(VOCABULARY, add_eos=False),
  'targets': seqio.Feature(VOCABULARY, add_eos=True),
  'history_embeddings': seqio.ContinuousFeature(dtype=tf.float32, rank=2),
  'history_mask': seqio.Feature(_INTEGERS, add_eos=False),
  'answer_slots': seqio.Feature(_INTEGERS, add_eos=False, required=False),
  'history_statistics': seqio.ContinuousFeature(
    dtype=tf.float32, rank=1, required=False
  ),
}


def register(question: questions.Question) -> None:
  """Makes a question known to recipes, and adds its SeqIO tasks.

  Those of 'x_v1' are x_v1, x_subhistories_v1, x_text_v1 and x_text_subhistories_v1.

  Raises:
    ValueError: there is a question of this name already.
  """
  questions.add_question(question)
  _add(question.name, question, make_examples)
  _add(question.task('subhistories'), question, make_examples_of_parts)
  # The baseline: the history as text.
  _add(question.task('text'), question, make_examples, _text_examples)
  _add(
    question.task('text_subhistories'), question, make_examples_of_parts, _text_examples
  )


def _add(name, question, ask_one, about=vector_examples):
  """Adds one SeqIO task."""
  seqio.TaskRegistry.add(
    name,
    source=seqio.FunctionDataSource(read_histories, splits=SPLITS),
    preprocessors=[
      functools.partial(ask_one, about=about, of=question),
      seqio.preprocessors.append_eos,
    ],
    output_features=FEATURES,
    postprocess_fn=parse_answer,
    metric_fns=[genre_scores],
    # `read_histories` has shuffled, but where the order stays.
    shuffle_buffer_size=1 if ask_one is make_examples_of_parts else _SHUFFLED,
  )


register(questions.MOVIELENS)
