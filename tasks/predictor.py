"""A trained model that answers the genre task, for batch prediction."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import gin
import jax
import numpy as np

from persoma_tf import checkpoints, freezing, generate, recipes, train
from persoma_tf import model as persoma
from tasks import genre_prediction, item_vectors, prompts, text_history, vocabularies
from tasks.histories import load_genres


class Predictor:
  """Loads a trained adapter beside its frozen decoder and answers in batches.

  Batches are padded to few static shapes: to `batch_size` users, and to a quarter,
  half or all of the longest history, or history as text, that the model was trained on.
  """

  def __init__(
    self, model_dir: str, histories_dir: str, embeddings_dir: str, batch_size: int
  ):
    """Loads.

    Args:
      model_dir: finished folder of `persoma_tf.train`.
      histories_dir: of the histories that will be answered.
      embeddings_dir: of the same items.
      batch_size: B.

    Raises:
      ValueError: the decoder is not the one that the adapter was trained for, or the
        parameters do not fit.
    """
    gin.clear_config()
    folders = [f'HISTORIES_DIR = {histories_dir!r}']
    folders += [f'EMBEDDINGS_DIR = {embeddings_dir!r}']
    recipes.parse([f'{model_dir}/{train.CONFIG}'], folders)
    model, decoder = persoma.build()
    trained = checkpoints.load_adapter(
      f'{model_dir}/adapter', checkpoints.fingerprint(decoder.params)
    )
    params = freezing.overlay({'decoder': decoder.params}, trained)
    self._genres = load_genres(histories_dir).names
    self._vectors = item_vectors.load(embeddings_dir)
    lengths = genre_prediction.feature_lengths()
    self._limits, self._batch_size = text_history.history_limits(), batch_size
    self._interactions = text_history.load_interactions(histories_dir)
    self._vocabulary = vocabularies.load(vocabularies.task_vocabulary())
    prompt = np.array(self._vocabulary.encode(prompts.TASK_PROMPT), np.int32)
    self._prompt = np.broadcast_to(prompt, (batch_size, len(prompt)))
    self._params = jax.device_put(params)
    self._answer = jax.jit(
      functools.partial(
        generate.greedy,
        model,
        eos_id=self._vocabulary.eos_id,
        max_tokens=lengths['targets'],
      )
    )

  def predict(self, histories: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Answers.

    Args:
      histories: at most `batch_size` users, each with `user_id`, `history_items` and
        `history_ratings`, newest first.

    Returns:
      A row a user: `user_id`, `predicted_liked`, `predicted_disliked`, `text`,
      `log_prob` (nats), `parse_ok`, `history_length`.
    """
    sizes = [min(len(x['history_items']), self._limits.items) for x in histories]
    inputs = self._texts if self._limits.text_tokens else self._histories
    made = self._answer(self._params, *inputs(histories, sizes))
    made = jax.device_get(made)
    return [
      self._row(history['user_id'], size, tokens.tolist(), log_prob)
      for history, size, tokens, log_prob in zip(histories, sizes, *made, strict=False)
    ]

  def _histories(self, histories, sizes):
    """(vectors [B, N, H], mask [B, N], prompts [B, T])."""
    length = _bucket(max(sizes), self._limits.items)
    vectors = np.zeros((self._batch_size, length, self._vectors.width), np.float32)
    mask = np.zeros((self._batch_size, length), np.int32)
    for row, (history, size) in enumerate(zip(histories, sizes, strict=True)):
      items, ratings = history['history_items'], history['history_ratings']
      vectors[row, :size] = self._vectors.gather(items[:size], ratings[:size])
      mask[row, :size] = 1
    return vectors, mask, self._prompt

  def _texts(self, histories, sizes):
    """(no vectors [B, 0, 1], no mask [B, 0], prompts with the histories in them)."""
    fixed = self._prompt.shape[1]
    rows = [
      self._interactions.prompt(x['history_items'], x['history_ratings'], self._limits)
      for x in histories
    ]
    longest = max(len(row) for row in rows) - fixed
    length = fixed + _bucket(longest, self._limits.text_tokens)
    prompt = np.zeros((self._batch_size, length), np.int32)
    prompt[:, :fixed] = self._prompt  # rows without a user are asked something too
    for place, row in enumerate(rows):
      prompt[place, : len(row)] = row
    empty = np.zeros((self._batch_size, 0, 1), np.float32)
    return empty, np.zeros((self._batch_size, 0), np.int32), prompt

  def _row(self, user_id, size, tokens, log_prob):
    eos_id = self._vocabulary.eos_id
    written = tokens[: tokens.index(eos_id)] if eos_id in tokens else tokens
    text = self._vocabulary.decode(written)
    return prompts.answer_row(user_id, text, log_prob, size, self._genres)


def _bucket(size: int, longest: int) -> int:
  """The least of a quarter, half and all of `longest` that holds `size`."""
  return next(n for n in (-(-longest // part) for part in (4, 2, 1)) if n >= size)
