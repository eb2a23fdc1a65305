"""A trained model that answers the genre task, for batch prediction."""

import functools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import gin
import jax
import numpy as np

from persoma_tf import (
  checkpoints,
  freezing,
  generate,
  lora,
  quantization,
  recipes,
  training_run,  # noqa: F401  registers what recipes set
)
from persoma_tf import model as persoma
from persoma_tf.decoders import stack
from persoma_tf.run_folder import CONFIG
from tasks import genre_prediction, item_vectors, prompts, text_history, vocabularies
from tasks.answer_grammar import answer_grammar
from tasks.decoding import Decoding
from tasks.histories import load_genres


class Prediction(NamedTuple):
  """An answer.

  Attributes:
    row: `user_id`, `predicted_liked`, `predicted_disliked`, `text`, `log_prob` (nats),
      `parse_ok`, `history_length`, `task`.
    tokens: how many were written, the end among them.
  """

  row: dict[str, Any]
  tokens: int


class _Shown(NamedTuple):
  """What the model is shown of a user: vectors [n, H] or tokens [T]."""

  size: int
  values: np.ndarray


class Predictor:
  """Loads a trained adapter beside its frozen decoder and answers in batches.

  Batches have few static shapes: a quarter, half or all of `batch_size` users, and of
  the longest history, or history as text, that the model was trained on.

  Attributes:
    model: with its layers one after the other.
    params: its parameters, on the device.
  """

  def __init__(
    self,
    model_dir: str,
    histories_dir: str,
    embeddings_dir: str,
    batch_size: int,
    decoding: Decoding = Decoding(),  # noqa: B008  frozen
    batch_tokens: int = 8192,
  ):
    """Loads.

    Args:
      model_dir: finished folder of `persoma_tf.train`.
      histories_dir: of the histories that will be answered.
      embeddings_dir: of the same items.
      batch_size: B.
      decoding: how answers are written.
      batch_tokens: of a batch at most, before the answers; for histories as text.

    Raises:
      ValueError: the decoder is not the one that the adapter was trained for, or the
        parameters do not fit.
    """
    gin.clear_config()
    folders = [f'HISTORIES_DIR = {histories_dir!r}']
    folders += [f'EMBEDDINGS_DIR = {embeddings_dir!r}']
    recipes.parse([f'{model_dir}/{CONFIG}'], folders)
    self._genres = load_genres(histories_dir)
    self._vectors = item_vectors.load(embeddings_dir)
    self._limits = text_history.history_limits()
    self._batch_size, self._batch_tokens = batch_size, batch_tokens
    self._question = prompts.asked()
    nouns = item_vectors.load_nouns(embeddings_dir)
    self._interactions = text_history.load_interactions(
      histories_dir, nouns, self._question.prompt
    )
    self._vocabulary = vocabularies.load(vocabularies.task_vocabulary())
    self._prompt = np.array(self._vocabulary.encode(self._question.prompt), np.int32)
    self._decoding = decoding
    self.model, self.params = _load(model_dir, decoding.weights)
    self._soft = jax.jit(functools.partial(generate.soft_prompt, self.model))
    self._answer = jax.jit(self._writer(self.model))

  def _writer(self, model):
    """A function (params, soft, prompts, keys) -> Generated."""
    names, question = self._genres.names, self._question
    vocabulary, how = self._vocabulary, self._decoding
    task = generate.Task(
      vocabulary.eos_id,
      genre_prediction.feature_lengths()['targets'],
      answer_grammar(names, vocabulary, question) if how.constrained else None,
    )
    if how.beams > 1:
      return lambda *args: generate.beam_search(model, *args[:3], task, how.beams)
    if not how.temperature:
      return lambda *args: generate.greedy(model, *args[:3], task)
    return lambda *args: generate.sample(
      model, *args[:3], task, args[3], how.temperature
    )

  def problem(self, history: Mapping[str, Any]) -> str | None:
    """Why a history cannot be answered; None if it can."""
    items, ratings = (np.asarray(history[f'history_{x}']) for x in ('items', 'ratings'))
    if len(items) != len(ratings):
      return f'{len(items)} history_items with {len(ratings)} history_ratings'
    known = len(self._genres.of_items)
    wrong = items[(items < 0) | (items >= known)]
    if len(wrong):
      return f'history_items has {wrong[0]}; the item table has rows 0 to {known - 1}'
    try:
      self._vectors.rows(items, ratings)
    except KeyError as error:
      return f'no vector for {error.args[0]}'
    return None

  def predict(self, histories: Sequence[Mapping[str, Any]]) -> list[Prediction]:
    """Answers.

    Args:
      histories: users without a `problem`, each with `user_id`, `history_items` and
        `history_ratings`, newest first.

    Returns:
      A prediction a user, in the order given.
    """
    shown = [self._shown(history) for history in histories]
    made = {}
    for places, length, rows in self._batches(shown):
      soft, prompt = self._inputs([shown[place] for place in places], length, rows)
      keys = _keys([histories[place]['user_id'] for place in places], rows, self._seed)
      answers = jax.device_get(self._answer(self.params, soft, prompt, keys))
      for place, tokens, log_prob in zip(places, *answers, strict=False):
        user_id, size = histories[place]['user_id'], shown[place].size
        made[place] = self._prediction(user_id, size, tokens.tolist(), log_prob)
    return [made[place] for place in range(len(histories))]

  def soft_prompts(self, histories: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Soft prompts [U, K, D] float32 of users, as `predict` puts them before a task."""
    shown = [self._shown(history) for history in histories]
    made = {}
    for places, length, rows in self._batches(shown):
      soft, _ = self._inputs([shown[place] for place in places], length, rows)
      made |= dict(zip(places, np.asarray(soft.tokens), strict=False))
    return np.stack([made[place] for place in range(len(histories))])

  @property
  def _seed(self):
    return self._decoding.seed

  def _shown(self, history) -> _Shown:
    items, ratings = history['history_items'], history['history_ratings']
    size = min(len(items), self._limits.items)
    if self._limits.text_tokens:
      return _Shown(size, self._interactions.prompt(items, ratings, self._limits))
    return _Shown(size, self._vectors.gather(items[:size], ratings[:size]))

  def _batches(self, shown) -> Iterator[tuple[list[int], int, int]]:
    """(places of users, padded length, padded number of users) of every batch.

    Those of like length come together, and the least static shape that holds them.
    All batches but the last are full: each number of users is compiled anew.
    """
    fixed = len(self._prompt) if self._limits.text_tokens else 0
    longest = self._limits.text_tokens or self._limits.items
    lengths = [_bucket(len(x.values) - fixed, longest) + fixed for x in shown]
    order = sorted(range(len(shown)), key=lambda place: len(shown[place].values))
    at = 0
    while at < len(order):
      most = self._batch_size
      if fixed:
        reach = order[at : at + most]
        most = max(1, min(most, self._batch_tokens // lengths[reach[-1]]))
      some = order[at : at + most]
      yield some, lengths[some[-1]], _bucket(len(some), most)
      at += most

  def _inputs(self, shown, length, rows):
    """(soft prompts, prompts [rows, T] or [T]); rows without a user are empty."""
    if self._limits.text_tokens:
      vectors, mask = np.zeros((rows, 0, 1), np.float32), np.zeros((rows, 0), np.int32)
      prompt = np.zeros((rows, length), np.int32)
      prompt[:, : len(self._prompt)] = self._prompt
      for row, (_, tokens) in enumerate(shown):
        prompt[row, : len(tokens)] = tokens
    else:
      vectors = np.zeros((rows, length, self._vectors.width), np.float32)
      mask = np.zeros((rows, length), np.int32)
      prompt = self._prompt  # of all
      for row, (size, values) in enumerate(shown):
        vectors[row, :size], mask[row, :size] = values, 1
    return self._soft(self.params, vectors, mask), prompt

  def _prediction(self, user_id, size, tokens, log_prob) -> Prediction:
    eos_id = self._vocabulary.eos_id
    written = tokens[: tokens.index(eos_id)] if eos_id in tokens else tokens
    text = self._vocabulary.decode(written)
    row = self._question.row(user_id, text, log_prob, size, self._genres.names)
    return Prediction(row, min(len(written) + 1, len(tokens)))


def _load(model_dir: str, weights: str) -> tuple[persoma.Persoma, dict]:
  """The model as it answers fastest, and its parameters on the device."""
  model, decoder = persoma.build()
  trained = checkpoints.load_adapter(
    f'{model_dir}/adapter', checkpoints.fingerprint(decoder.params)
  )
  params = freezing.overlay({'decoder': decoder.params}, trained)
  tuned = quantization.converted(lora.merge(params['decoder']), weights)
  module, tuned = stack.unrolled(model.decoder, tuned)
  return model.clone(decoder=module), jax.device_put({**params, 'decoder': tuned})


def _keys(user_ids: Sequence[str], rows: int, seed: int) -> jax.Array:
  """A random key for each user, of seed and user alone."""
  sums = [zlib.crc32(user.encode()) for user in user_ids]
  sums = np.array(sums + [0] * (rows - len(sums)), np.uint32)
  return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(sums)


def _bucket(size: int, longest: int) -> int:
  """The least of a quarter, half and all of `longest` that holds `size`."""
  return next(n for n in (-(-longest // part) for part in (4, 2, 1)) if n >= size)
