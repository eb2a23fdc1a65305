"""Answers a question about users: records become requests, tokens become rows.

A record is the history of a user, or an example of a question with the history before
it (`tasks.schema`).
"""

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gin
import numpy as np

from persoma_tf import recipes
from persoma_tf.inference import generate
from persoma_tf.inference.decoding_settings import Decoding
from persoma_tf.inference.engine import Answered, Engine, Limits, Request
from persoma_tf.inference.option_scores import OptionTokens
from persoma_tf.inference.vllm_engine import VllmEngine
from persoma_tf.training import training_run  # noqa: F401  registers gin parameters
from persoma_tf.training.run_folder import CONFIG
from tasks import dataset_question, text_history, vocabularies
from tasks.answers.example_question import ExampleQuestion
from tasks.example_answers import ExampleAnswers
from tasks.histories import load_genres
from tasks.history_columns import HistoryColumns
from tasks.item_statistics import interaction_vectors
from tasks.lists_answers import ListsAnswers


class Prediction(NamedTuple):
  """Holds an answer as a row of the prediction table.

  Attributes:
    row: values of the columns of the question's kind (`tasks.schema`), without those of
      the run.
    tokens: number of generated tokens, including the end of the sequence.
  """

  row: dict[str, Any]
  tokens: int


class Predictor:
  """Answers a question of a trained model about users.

  Attributes:
    question: question that is answered, the first of several; `asking` returns the
      predictors of the others.
    engine: inference engine.
  """

  def __init__(
    self,
    model_dir: str,
    histories_dir: str,
    embeddings_dir: str,
    batch_size: int,
    decoding: Decoding = Decoding(),  # noqa: B008  frozen
    batch_tokens: int = 8192,
    trusted: Sequence[str] = (),
    vllm_python: str = '',
    questions: Sequence[str] = (),
    drafts: bool = True,
  ):
    """Reads the recipe and loads the model.

    Args:
      model_dir: finished folder of `persoma_tf.train`.
      histories_dir: folder with the histories of the users.
      embeddings_dir: folder with the embeddings of the same items.
      batch_size: B, maximum number of users in a batch.
      decoding: settings of the decoding.
      batch_tokens: maximum number of tokens in a batch if histories are text.
      trusted: modules that the model's recipe may import, see `recipes.parse_model`.
      vllm_python: Python of an environment whose vLLM writes the answers; '' for JAX.
      questions: names of the questions to answer: of the model or, without a draft, of
        the histories' dataset file; () for all of the model.
      drafts: whether soft prompts have the drafts of answers; if not, the decoder reads
        the user tokens alone.

    Raises:
      ValueError: the recipe imports a module that is not trusted, the adapter was
        trained with another decoder, the parameters do not fit, or the model cannot
        answer a question.
    """
    gin.clear_config()
    folders = [f'HISTORIES_DIR = {histories_dir!r}']
    folders += [f'EMBEDDINGS_DIR = {embeddings_dir!r}']
    recipes.parse_model(f'{model_dir}/{CONFIG}', folders, trusted)
    dataset_question.fix_question()
    self._num_items = len(load_genres(histories_dir).of_items)
    self._vectors = interaction_vectors()
    self._limits = text_history.history_limits()
    self._vocabulary = vocabularies.load_vocabulary(vocabularies.task_vocabulary())
    as_text, trained = self._limits.text_tokens, dataset_question.asked_questions()
    asked = 0
    if not as_text:
      asked = max(getattr(x, 'num_asked', 0) for x in trained.values())
    nobody = self._vectors.gather_items(np.zeros(0, np.int64))
    self._batches = Limits(
      batch_size,
      as_text or self._limits.items,
      self._vectors.width,
      batch_tokens if as_text else 0,
      (asked, nobody.shape[1]) if asked else (),
    )
    self._engine = functools.partial(VllmEngine, vllm_python) if vllm_python else Engine
    self.engine, self._others = None, {}
    for name in (*questions,) or trained:
      made = self if self.engine is None else copy.copy(self)
      number = [*trained].index(name) if drafts and name in trained else None
      with dataset_question.asking(name):
        made._ask(model_dir, decoding, number)
      made._check_draft(drafts)
      self._others[name] = made

  def _ask(self, model_dir: str, decoding: Decoding, number: int | None) -> None:
    """Makes what is of the asked question; the first one loads the model."""
    self.question = question = dataset_question.asked_question()
    about_examples = isinstance(question, ExampleQuestion)
    kind = ExampleAnswers if about_examples else ListsAnswers
    self._answers = kind(question, self._vocabulary, bool(self._limits.text_tokens))
    made = self._answers.prompt, self._task(decoding)
    limits = self._batches._replace(tells_odds=about_examples)
    if self.engine is None:
      self.engine = self._engine(
        model_dir, *made, limits, decoding, self._answers.options, number
      )
    else:
      self.engine = self.engine.asking(*made, limits, self._answers.options, number)
    self._masks = number is None

  def _check_draft(self, drafts: bool) -> None:
    """Checks that a masked draft leaves something, and was asked for."""
    adapter, name = self.engine.trained.adapter, self.question.name
    if not self._masks or adapter.template is None:
      return
    if drafts:
      raise ValueError(
        f'the model has no draft for question {name}, which it was not trained on: '
        'expected drafts=False, for user tokens alone, or a question of the model'
      )
    if not (adapter.num_task_tokens or adapter.resampler) or adapter.draft is None:
      raise ValueError(
        f'question {name}: the soft prompt of this model is a draft alone, so nothing '
        'would be left without it: expected drafts=True, or a model with user tokens'
      )

  def asking(self, name: str = '') -> 'Predictor':
    """Returns the predictor of one of the questions; '' for the first.

    All of them share one loaded model.
    """
    return self._others[name or self.question.name]

  @property
  def kinds(self) -> Mapping[str, str]:
    """Returns the kind of each field of a record, see `tasks.schema`."""
    return self._answers.kinds

  @property
  def key(self) -> str:
    """Returns the name of the field that identifies a record."""
    return self._answers.key

  def _task(self, decoding: Decoding) -> generate.Task:
    vocabulary, answers = self._vocabulary, self._answers
    options, most = answers.option_tokens(), decoding.scored_options
    if most and options and answers.needs_all_options:
      most = len(options)
    return generate.Task(
      vocabulary.eos_id,
      answers.longest(),
      answers.grammar() if decoding.constrained else None,
      vocabulary.other_ends,
      OptionTokens.of(options, vocabulary.eos_id, most) if options and most else None,
      functools.lru_cache(1 << 14)(answers.draft_tokens),
    )

  def problem(self, history: Mapping[str, Any]) -> str | None:
    """Returns the reason why a history cannot be answered; None without a problem."""
    columns = HistoryColumns.of_record(history)
    items, ratings, _ = columns
    if len(items) != len(ratings):
      return f'{len(items)} history_items with {len(ratings)} history_ratings'
    known = self._num_items
    wrong = items[(items < 0) | (items >= known)]
    if len(wrong):
      return f'history_items has {wrong[0]}; the item table has rows 0 to {known - 1}'
    try:
      self._vectors.rows(columns)
    except KeyError as error:
      return f'no vector: {error.args[0]}'
    return self._answers.problem(history)

  def task_prompt(self, history: Mapping[str, Any], prompt: str = '') -> str:
    """Returns the task prompt that a record is asked with; arguments as of `predict`.

    Raises:
      ValueError: `prompt` is no template, or names what nothing fills.
    """
    return self._answers.task_prompt(history, prompt)

  def predict(
    self, histories: Sequence[Mapping[str, Any]], prompt: str = ''
  ) -> list[Prediction]:
    """Answers the question about each user.

    Args:
      histories: records without a `problem`, each with the fields `kinds`; those of
        histories newest first.
      prompt: other words than the question's own prompt; '' for its own. Of a question
        about examples they are a template, too.

    Returns:
      One prediction per history, in the same order.

    Raises:
      ValueError: see `task_prompt`.
    """
    answers = self.engine.answer([self._request(x, prompt) for x in histories])
    return list(map(self._prediction, histories, answers))

  def soft_prompts(self, histories: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Returns the soft prompts [U, K, D] float32 that `predict` gives the decoder."""
    return self.engine.soft_prompts([self._request(history) for history in histories])

  def limits(self) -> dict[str, Any]:
    """Returns what answers are kept to, as JSON has it, for other engines.

    Returns:
      `max_tokens`, the most tokens of an answer, its end among them; `form`, see
      `grammar.Grammar.as_lists`, or None if answers are free.
    """
    task = self.engine.task
    form = task.grammar.as_lists() if task.grammar else None
    return {'max_tokens': task.max_tokens, 'form': form}

  def drafts(self, histories: Sequence[Mapping[str, Any]]) -> list:
    """Returns what the drafts answer, without running the decoder.

    Returns:
      For each history, the liked and disliked genres; of a choice, the option.

    Raises:
      ValueError: the model drafts no answer.
    """
    found = self.engine.drafts([self._request(history) for history in histories])
    return list(map(self._answers.draft, found))

  def draft_probabilities(self, examples: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Returns the draft's probabilities [E, O] of the options of a choice.

    Raises:
      ValueError: the model drafts no answer, or the question is no choice.
    """
    found = self.engine.draft_odds([self._request(example) for example in examples])
    return np.array(found)[:, 0]

  def _size(self, history) -> int:
    """Returns the number of interactions that the model sees."""
    return min(len(history['history_items']), self._limits.items)

  def _request(self, history, words='') -> Request:
    prompt = self._answers.own_prompt(history, self._limits, words)
    key, shown = history[self.key], slice(self._size(history))
    if self._limits.text_tokens:
      return Request(key, None, prompt)
    user = history['user_id'].encode()
    columns = HistoryColumns.of_record(history).take(shown)
    vectors = self._vectors.gather(columns, user)
    rows = self._answers.asked_rows(history) if self._batches.asked else ()
    asked = self._vectors.gather_items(rows, user) if len(rows) else None
    return Request(key, vectors, prompt, asked)

  def _prediction(self, history, answer: Answered) -> Prediction:
    tokens, eos_id = answer.tokens, self._vocabulary.eos_id
    written = tokens[: tokens.index(eos_id)] if eos_id in tokens else tokens
    text = self._vocabulary.decode(written)
    row = self._answers.row(history, text, answer, self._size(history))
    return Prediction(row, min(len(written) + 1, len(tokens)))
