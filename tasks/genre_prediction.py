"""Registers genre prediction as SeqIO tasks, for MovieLens and other data sets.

`movielens_genre_prediction_v1` asks about the stored history; the target is the label
of the user's full history. `movielens_genre_prediction_subhistories_v1` is for
training: every epoch draws another part of each stored history and computes the label
of this part. A few hundred users then give any number of examples that do not
contradict each other.

Both tasks exist a second time with `_text_` in the name. Their prompts have the history
as text; they are the baseline for soft prompts.

`movielens_genre_prediction_random_answers_v1` is for stages with `Stage.teach`: what a
decoder copies from a draft has nothing to do with the user, and random answers have
every genre and every length equally often.

`lists_v1` and its four are the same tasks for the question of a dataset file;
`register` adds them for one that a module defines (docs/own_data.md). The folders with
the data are gin parameters: `data_folders.histories_dir`, `.embeddings_dir`.
"""

import functools
import itertools

import gin
import numpy as np
import seqio

from persoma_tf import encoders
from persoma_tf.answer_form import AnswerTemplate
from persoma_tf.setting_types import Count
from tasks import (
  dataset_question,
  examples,
  item_statistics,
  item_vectors,
  questions,
  task_features,
)
from tasks.answers.lists import Answer
from tasks.histories import HistorySource, data_folders, load_genres, load_rule
from tasks.metrics import genre_scores
from tasks.text_history import after_line, history_limits
from tasks.vocabularies import VOCABULARY


@gin.configurable
def answer_template() -> AnswerTemplate:
  """Returns the form of an answer with one word for each class: liked, disliked, none.

  Every genre is in the words twice, since liking and disliking it are two classes.
  """
  names, question = (
    load_genres(data_folders().histories_dir).names,
    dataset_question.asked_lists(),
  )
  words = [f' {name}' for name in (*names, *names, question.none)]
  return AnswerTemplate(
    question.parts,
    words,
    question.options(len(names)),
  )


@gin.configurable
def interaction_tables() -> tuple[np.ndarray, ...]:
  """Returns the tables of the interactions' vectors, for `train.vector_tables`."""
  return item_statistics.interaction_vectors().tables


@gin.configurable
def num_categories() -> int:
  """Returns the number of genres, for `build.num_categories`."""
  return len(load_genres(data_folders().histories_dir).names)


@gin.configurable
def option_vectors() -> np.ndarray:
  """Returns the vectors [G, H'] of the genres' names, for `train.option_vectors`.

  They come from the encoder of the embeddings folder.

  Raises:
    ValueError: the embeddings folder was made with other weights of the encoder.
  """
  folders = data_folders()
  info = item_vectors.load_item_vectors(folders.embeddings_dir).info
  named = ('encoder', 'encoder_signature', 'encoder_output', 'encoder_prefix')
  encoder = encoders.load_encoder(*(info.get(name, '') for name in named))
  if encoder.sha256 != info['encoder_sha256']:
    raise ValueError(
      f'{folders.embeddings_dir} was made with weights {info["encoder_sha256"]} of '
      f'{encoder.name}; here it has {encoder.sha256}: expected the same, or embed again'
    )
  return encoder.encode(load_genres(folders.histories_dir).names)


@gin.configurable
def feature_lengths(min_targets: Count = 0, known: Count = 0) -> dict[str, int]:
  """Returns the padded length of each feature, which no example exceeds.

  Args:
    min_targets: minimum length of `targets`, for longer answers of other tasks in the
      same mixture.
    known: E, number of interactions in each example whose categories and values are
      told, for `Stage.category_weight` and `Stage.value_weight`.

  Raises:
    ValueError: the labels of these histories do not fit into answers to the question.
  """
  limits, question = history_limits(), dataset_question.asked_lists()
  folder = data_folders().histories_dir
  vectors = 0 if limits.text_tokens else limits.items
  genres = load_genres(folder).names
  question.check(genres, load_rule(folder).top)
  size = lambda text: len(VOCABULARY.encode(text))
  longest = sorted(genres, key=lambda name: size(f' {name},'))[-question.most :]
  sides = itertools.product((longest, ()), repeat=2)
  answers = itertools.starmap(question.answer, sides)
  prompt = (
    len(after_line(VOCABULARY, question.prompt))
    if limits.text_tokens
    else size(question.prompt)
  )
  return {
    'inputs': limits.text_tokens + prompt,
    # + 1 for the end of the sequence.
    'targets': max(max(map(size, answers)) + 1, min_targets),
    'history_embeddings': vectors,
    'history_mask': vectors,
    'answer_slots': 2 * question.most,
    'history_statistics': 2 * len(genres),
    **(dict.fromkeys(task_features.KNOWN_FEATURES, known) if known and vectors else {}),
  }


def parse_answer(output: str, **_) -> Answer:
  """Parses an answer for SeqIO's metrics, which count the parse failures."""
  return dataset_question.asked_lists().parse(
    output, load_genres(data_folders().histories_dir).names
  )


_SHUFFLED = seqio.dataset_providers.SHUFFLE_BUFFER_SIZE


def register(question: questions.Question) -> None:
  """Registers a question for recipes, and its five SeqIO tasks.

  The tasks of question 'x_v1' are x_v1, x_subhistories_v1, x_random_answers_v1,
  x_text_v1 and x_text_subhistories_v1.

  Raises:
    ValueError: another question with this name is already registered.
  """
  questions.add_question(question)
  _add_tasks(question.task, question, question.name)


def _add_tasks(name_of, question, whole_name):
  """Adds the five tasks of a question; of whatever the recipe asks if it is None."""
  whole, parts = examples.whole_histories, examples.parts_of_histories
  from_vectors, from_text = examples.from_vectors, examples.from_text
  _add(whole_name, question, whole, from_vectors)
  _add(name_of('subhistories'), question, parts, from_vectors)
  drawn = examples.with_random_answers
  _add(name_of('random_answers'), question, parts, drawn)
  # The baseline for soft prompts: the history as text.
  _add(name_of('text'), question, whole, from_text)
  _add(name_of('text_subhistories'), question, parts, from_text)


def _add(name, question, make_examples, maker):
  """Adds one SeqIO task."""
  # `read_histories` shuffles the records. Examples of whole histories are shuffled a
  # second time, parts of histories are not (a buffer of 1 keeps the order).
  shuffled_once = make_examples is examples.parts_of_histories
  seqio.TaskRegistry.add(
    name,
    source=HistorySource(),
    preprocessors=[
      functools.partial(make_examples, maker=maker, registered=question, task=name),
      seqio.preprocessors.append_eos,
    ],
    output_features=task_features.FEATURES,
    postprocess_fn=parse_answer,
    metric_fns=[genre_scores],
    shuffle_buffer_size=1 if shuffled_once else _SHUFFLED,
  )


register(questions.MOVIELENS)
# Of the question that the recipe asks, such as that of a dataset file.
_add_tasks(lambda kind: f'lists_{kind}_v1', None, 'lists_v1')
