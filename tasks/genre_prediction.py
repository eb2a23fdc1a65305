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

from persoma_tf.soft_prompt import AnswerTemplate
from tasks import examples, questions
from tasks.histories import data_folders, load_genres, load_rule, read_histories
from tasks.metrics import genre_scores
from tasks.schema import SPLITS
from tasks.text_history import history_limits
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


def parse_answer(output: str, **_) -> questions.Answer:
  """Parses an answer for SeqIO's metrics, which count unreadable ones."""
  return questions.asked_question().parse(
    output, load_genres(data_folders().histories_dir).names
  )


_SHUFFLED = seqio.dataset_providers.SHUFFLE_BUFFER_SIZE


def register(question: questions.Question) -> None:
  """Makes a question known to recipes, and adds its SeqIO tasks.

  Those of 'x_v1' are x_v1, x_subhistories_v1, x_text_v1 and x_text_subhistories_v1.

  Raises:
    ValueError: there is a question of this name already.
  """
  questions.add_question(question)
  whole, parts = examples.whole_histories, examples.parts_of_histories
  from_vectors, from_text = examples.from_vectors, examples.from_text
  _add(question.name, question, whole, from_vectors)
  _add(question.task('subhistories'), question, parts, from_vectors)
  # The baseline: the history as text.
  _add(question.task('text'), question, whole, from_text)
  _add(question.task('text_subhistories'), question, parts, from_text)


def _add(name, question, make_examples, maker):
  """Adds one SeqIO task."""
  # `read_histories` has shuffled; whole histories are shuffled again.
  shuffled_once = make_examples is examples.parts_of_histories
  seqio.TaskRegistry.add(
    name,
    source=seqio.FunctionDataSource(read_histories, splits=SPLITS),
    preprocessors=[
      functools.partial(make_examples, maker=maker, registered=question),
      seqio.preprocessors.append_eos,
    ],
    output_features=examples.FEATURES,
    postprocess_fn=parse_answer,
    metric_fns=[genre_scores],
    shuffle_buffer_size=1 if shuffled_once else _SHUFFLED,
  )


register(questions.MOVIELENS)
