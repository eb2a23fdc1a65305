"""Answers many requests with a trained model, in batches of a few static shapes.

The engine knows tokens, masks and grammars. What a request asks, and what its tokens
mean, is the business of the caller (`tasks.predictor`).
"""

import functools
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from persoma_tf import model as persoma
from persoma_tf.decoders import stack
from persoma_tf.inference import generate
from persoma_tf.inference.decoding import Decoding
from persoma_tf.parameters import checkpoints, freezing, lora, quantization


class Request(NamedTuple):
  """Asks for one answer.

  Attributes:
    key: text that decides what is drawn, together with the seed: a user's id.
    vectors: [n, H] float32 vectors of the history; None where it stands in the prompt.
    prompt: [t] int32 history as text and task prompt; None for the engine's prompt.
  """

  key: str
  vectors: np.ndarray | None
  prompt: np.ndarray | None = None

  @property
  def length(self) -> int:
    """Returns the size that decides the shape of its batch."""
    return len(self.prompt if self.vectors is None else self.vectors)


class Answered(NamedTuple):
  """Holds one answer.

  Attributes:
    tokens: [L] int; `eos_id` from the first end of sequence on.
    log_prob: natural log probability of the tokens.
  """

  tokens: list[int]
  log_prob: float


class Limits(NamedTuple):
  """Limits the shapes of batches.

  Attributes:
    batch_size: B, requests in a batch at most.
    longest: the longest history, in items; in tokens where histories are text.
    width: H of the vectors.
    batch_tokens: tokens in a batch at most, where histories are text; 0 elsewhere.
  """

  batch_size: int
  longest: int
  width: int
  batch_tokens: int = 0


class Engine:
  """Loads a trained adapter beside its frozen decoder and answers in batches.

  Batches have few static shapes: a quarter, half or all of `batch_size` requests, and
  of the longest history.

  Attributes:
    model: the model with its layers one after the other.
    params: its parameters, on the device.
  """

  def __init__(
    self,
    model_dir: str,
    prompt: Sequence[int],
    task: generate.Task,
    limits: Limits,
    decoding: Decoding,
  ):
    """Loads the model of the recipe that gin has read.

    Args:
      model_dir: finished folder of `persoma_tf.train`.
      prompt: [T] tokens of the task prompt.
      task: end, length and grammar of all answers.
      limits: limits of the batches.
      decoding: how answers are written.

    Raises:
      ValueError: the decoder is not the one that the adapter was trained for, or the
        parameters do not fit.
    """
    self._prompt, self._limits = np.array(prompt, np.int32), limits
    self._seed = decoding.seed
    self.model, self.params = _load(model_dir, decoding.weights)
    self._soft = jax.jit(functools.partial(generate.soft_prompt, self.model))
    self._answer = jax.jit(_writer(self.model, task, decoding))

  def answer(self, requests: Sequence[Request]) -> list[Answered]:
    """Answers requests, in the order given."""
    answers = {}
    for places, length, rows in self._batches(requests):
      some = [requests[place] for place in places]
      soft, prompt = self._inputs(some, length, rows)
      keys = _keys([request.key for request in some], rows, self._seed)
      made = jax.device_get(self._answer(self.params, soft, prompt, keys))
      for place, tokens, log_prob in zip(places, *made, strict=False):
        answers[place] = Answered(tokens.tolist(), float(log_prob))
    return [answers[place] for place in range(len(requests))]

  def soft_prompts(self, requests: Sequence[Request]) -> np.ndarray:
    """Returns the soft prompts [R, K, D] float32 of requests, as `answer` uses them."""
    made = {}
    for places, length, rows in self._batches(requests):
      soft, _ = self._inputs([requests[place] for place in places], length, rows)
      made |= dict(zip(places, np.asarray(soft.tokens), strict=False))
    return np.stack([made[place] for place in range(len(requests))])

  def _batches(self, requests) -> Iterator[tuple[list[int], int, int]]:
    """Yields (places of requests, padded length, padded number of rows) of batches.

    Requests of like length come together, in the least static shape that holds them.
    All batches but the last are full: each number of rows is compiled anew.
    """
    batch_size, longest, _, batch_tokens = self._limits
    fixed = len(self._prompt) if batch_tokens else 0
    lengths = [_bucket(x.length - fixed, longest) + fixed for x in requests]
    order = sorted(range(len(requests)), key=lambda place: requests[place].length)
    at = 0
    while at < len(order):
      most = batch_size
      if batch_tokens:
        reach = order[at : at + most]
        most = max(1, min(most, batch_tokens // lengths[reach[-1]]))
      some = order[at : at + most]
      yield some, lengths[some[-1]], _bucket(len(some), most)
      at += most

  def _inputs(self, requests, length, rows):
    """Returns (soft prompts, prompts [rows, T] or [T]); rows to spare are empty."""
    if self._limits.batch_tokens:
      vectors, mask = np.zeros((rows, 0, 1), np.float32), np.zeros((rows, 0), np.int32)
      prompt = np.zeros((rows, length), np.int32)
      prompt[:, : len(self._prompt)] = self._prompt
      for row, request in enumerate(requests):
        prompt[row, : len(request.prompt)] = request.prompt
    else:
      vectors = np.zeros((rows, length, self._limits.width), np.float32)
      mask = np.zeros((rows, length), np.int32)
      prompt = self._prompt  # of all rows
      for row, request in enumerate(requests):
        size = len(request.vectors)
        vectors[row, :size], mask[row, :size] = request.vectors, 1
    return self._soft(self.params, vectors, mask), prompt


def _writer(model, task: generate.Task, how: Decoding):
  """Returns a function (params, soft, prompts, keys) -> Generated."""
  if how.beams > 1:
    return lambda *args: generate.beam_search(model, *args[:3], task, how.beams)
  if not how.temperature:
    return lambda *args: generate.greedy(model, *args[:3], task)
  return lambda *args: generate.sample(model, *args[:3], task, args[3], how.temperature)


def _load(model_dir: str, weights: str) -> tuple[persoma.Persoma, dict]:
  """Returns the model as it answers fastest, and its parameters on the device."""
  model, decoder = persoma.build()
  trained = checkpoints.load_adapter(
    f'{model_dir}/adapter', checkpoints.fingerprint(decoder.params)
  )
  params = freezing.overlay({'decoder': decoder.params}, trained)
  tuned = quantization.converted(lora.merge_lora(params['decoder']), weights)
  module, tuned = stack.unrolled(model.decoder, tuned)
  return model.clone(decoder=module), jax.device_put({**params, 'decoder': tuned})


def _keys(texts: Sequence[str], rows: int, seed: int) -> jax.Array:
  """Returns a random key for each row, of seed and text alone."""
  sums = [zlib.crc32(text.encode()) for text in texts]
  sums = np.array(sums + [0] * (rows - len(sums)), np.uint32)
  return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(sums)


def _bucket(size: int, longest: int) -> int:
  """Returns the least of a quarter, half and all of `longest` that holds `size`."""
  return next(n for n in (-(-longest // part) for part in (4, 2, 1)) if n >= size)
