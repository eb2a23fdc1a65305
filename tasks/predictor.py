"""Answers a question about users: histories become requests, tokens become rows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gin
import numpy as np

from persoma_tf import recipes
from persoma_tf.inference import generate
from persoma_tf.inference.decoding_settings import Decoding
from persoma_tf.inference.engine import Answered, Engine, Limits, Request
from persoma_tf.training import training_run  # noqa: F401  registers gin parameters
from persoma_tf.training.run_folder import CONFIG
from tasks import (
  dataset_question,
  genre_prediction,
  item_vectors,
  text_history,
  vocabularies,
)
from tasks.answer_grammar import answer_grammar
from tasks.histories import load_genres


class Prediction(NamedTuple):
  """Holds an answer as a row of the prediction table.

  Attributes:
    row: `user_id`, `predicted_liked`, `predicted_disliked`, `draft_liked`,
      `draft_disliked`, `text`, `log_prob` (nats), `parse_ok`, `history_length`, `task`.
    tokens: number of generated tokens, including the end of the sequence.
  """

  row: dict[str, Any]
  tokens: int


class Predictor:
  """Answers the question of a trained model about users.

  Attributes:
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

    Raises:
      ValueError: the recipe imports a module that is not trusted, the adapter was
        trained with another decoder, or the parameters do not fit.
    """
    gin.clear_config()
    folders = [f'HISTORIES_DIR = {histories_dir!r}']
    folders += [f'EMBEDDINGS_DIR = {embeddings_dir!r}']
    recipes.parse_model(f'{model_dir}/{CONFIG}', folders, trusted)
    dataset_question.fix_question()
    self._genres = load_genres(histories_dir)
    self._vectors = item_vectors.load_item_vectors(embeddings_dir)
    self._limits = text_history.history_limits()
    self._question = dataset_question.asked_question()
    nouns = item_vectors.load_words(embeddings_dir)
    self._interactions = text_history.load_interactions(
      histories_dir, nouns, self._question.prompt
    )
    self._vocabulary = vocabularies.load_vocabulary(vocabularies.task_vocabulary())
    as_text = self._limits.text_tokens
    self.engine = Engine(
      model_dir,
      self._interactions.task_prompt
      if as_text
      else self._vocabulary.encode(self._question.prompt),
      self._task(decoding.constrained),
      Limits(
        batch_size,
        as_text or self._limits.items,
        self._vectors.width,
        batch_tokens if as_text else 0,
      ),
      decoding,
      self._question.options(len(self._genres.names)),
    )

  def _task(self, constrained: bool) -> generate.Task:
    names, vocabulary = self._genres.names, self._vocabulary
    return generate.Task(
      vocabulary.eos_id,
      genre_prediction.feature_lengths()['targets'],
      answer_grammar(names, vocabulary, self._question) if constrained else None,
      vocabulary.other_ends,
    )

  def problem(self, history: Mapping[str, Any]) -> str | None:
    """Returns the reason why a history cannot be answered; None without a problem."""
    items = np.asarray(history['history_items'])
    ratings = np.asarray(history['history_ratings'])
    if len(items) != len(ratings):
      return f'{len(items)} history_items with {len(ratings)} history_ratings'
    known = len(self._genres.of_items)
    wrong = items[(items < 0) | (items >= known)]
    if len(wrong):
      return f'history_items has {wrong[0]}; the item table has rows 0 to {known - 1}'
    try:
      self._vectors.rows(items, ratings)
    except KeyError as error:
      return f'no vector: {error.args[0]}'
    return None

  def predict(self, histories: Sequence[Mapping[str, Any]]) -> list[Prediction]:
    """Answers the question about each user.

    Args:
      histories: histories without a `problem`, each with `user_id`, `history_items` and
        `history_ratings`, newest first.

    Returns:
      One prediction per history, in the same order.
    """
    answers = self.engine.answer([self._request(history) for history in histories])
    return list(map(self._prediction, histories, answers))

  def soft_prompts(self, histories: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Returns the soft prompts [U, K, D] float32 that `predict` gives the decoder."""
    return self.engine.soft_prompts([self._request(history) for history in histories])

  def drafts(
    self, histories: Sequence[Mapping[str, Any]]
  ) -> list[tuple[list[str], list[str]]]:
    """Returns the liked and disliked genres of the drafts, without running the decoder.

    Raises:
      ValueError: the model drafts no answer.
    """
    names = self._genres.names
    found = self.engine.drafts([self._request(history) for history in histories])
    return [self._question.draft(words, names) for words in found]

  def _size(self, history) -> int:
    """Returns the number of interactions that the model sees."""
    return min(len(history['history_items']), self._limits.items)

  def _request(self, history) -> Request:
    items, ratings = history['history_items'], history['history_ratings']
    if self._limits.text_tokens:
      tokens = self._interactions.prompt(items, ratings, self._limits)
      return Request(history['user_id'], None, tokens)
    shown = slice(self._size(history))
    return Request(
      history['user_id'], self._vectors.gather(items[shown], ratings[shown])
    )

  def _prediction(self, history, answer: Answered) -> Prediction:
    names = self._genres.names
    tokens, eos_id = answer.tokens, self._vocabulary.eos_id
    written = tokens[: tokens.index(eos_id)] if eos_id in tokens else tokens
    row = self._question.row(
      history['user_id'],
      self._vocabulary.decode(written),
      answer.log_prob,
      self._size(history),
      names,
      self._question.draft(answer.draft or (), names),
    )
    return Prediction(row, min(len(written) + 1, len(tokens)))
