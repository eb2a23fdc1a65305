"""Answers many requests with a trained model, in batches of a few static shapes.

The engine works on tokens, masks and grammars. Only the caller (`tasks.predictor`)
knows the question of a request and the meaning of the tokens.
"""

import functools
import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from persoma_tf import model as persoma
from persoma_tf import operand_types
from persoma_tf.answer_form import Options
from persoma_tf.answer_template import chosen_words
from persoma_tf.decoders import stack, start_tokens
from persoma_tf.inference import generate
from persoma_tf.inference.decoding_settings import Decoding
from persoma_tf.parameters import checkpoints, freezing, lora, quantization


class Request(NamedTuple):
  """Asks for one answer.

  Attributes:
    key: text that, together with the seed, determines the random draws: the user's id.
    vectors: [n, H] float32 vectors of the history; None if the history is text.
    prompt: [t] int32 tokens of the history as text and of the task prompt; None for the
      engine's task prompt.
  """

  key: str
  vectors: np.ndarray | None
  prompt: np.ndarray | None = None

  @property
  def length(self) -> int:
    """Returns the number of vectors or tokens, which the batch is padded for."""
    return len(self.prompt if self.vectors is None else self.vectors)


class Answered(NamedTuple):
  """Holds one answer.

  Attributes:
    tokens: [L] token ids, padded with `eos_id` after the end of the answer.
    log_prob: log probability of the tokens, nats.
    draft: [S] index of the word in each slot of the soft prompt; None without slots.
  """

  tokens: list[int]
  log_prob: float
  draft: list[int] | None = None


class Limits(NamedTuple):
  """Limits the shapes of batches.

  Attributes:
    batch_size: B, maximum number of requests in a batch.
    longest: length of the longest history, in items; in tokens if histories are text.
    width: H, length of a vector.
    batch_tokens: maximum number of tokens in a batch if histories are text; else 0.
  """

  batch_size: int
  longest: int
  width: int
  batch_tokens: int = 0


class Engine:
  """Answers requests in batches, with a trained adapter and its decoder.

  Batches have few static shapes: the number of requests and the length of the histories
  are each padded to a quarter, half or all of their limit.

  Attributes:
    model: model whose decoder layers are unrolled instead of stacked.
    params: parameters of the model, on the device.
  """

  def __init__(
    self,
    model_dir: str,
    prompt: Sequence[int],
    task: generate.Task,
    limits: Limits,
    decoding: Decoding,
    options: Options = Options(),  # noqa: B008  immutable
  ):
    """Loads the model of the recipe that gin has read.

    Args:
      model_dir: finished folder of `persoma_tf.train`.
      prompt: [T] tokens of the task prompt.
      task: end, length and grammar of all answers.
      limits: limits of the batches.
      decoding: settings of the decoding.
      options: words that can fill the slots of the soft prompt, for `Answered.draft`;
        by default no draft is told.

    Raises:
      ValueError: the adapter was trained with another decoder, or the parameters do not
        fit.
    """
    self._prompt, self._limits = np.array(prompt, np.int32), limits
    self._seed = decoding.seed
    self.model, self.params = _load(model_dir, decoding.weights, limits)
    self._soft = jax.jit(functools.partial(generate.soft_prompt, self.model))
    self._options = options
    self._answer = jax.jit(_writer(self.model, task, decoding))

  def answer(self, requests: Sequence[Request]) -> list[Answered]:
    """Returns the answers to requests, in the same order."""
    answers = {}
    for places, length, rows in self._batches(requests):
      batch = [requests[place] for place in places]
      soft, prompt = self._inputs(batch, length, rows)
      keys = _keys([request.key for request in batch], rows, self._seed)
      generated = jax.device_get(self._answer(self.params, soft, prompt, keys))
      drafts = self._drafts(soft) or itertools.repeat(None)
      for place, draft, tokens, log_prob in zip(
        places, drafts, *generated, strict=False
      ):
        answers[place] = Answered(tokens.tolist(), float(log_prob), draft)
    return [answers[place] for place in range(len(requests))]

  def soft_prompts(self, requests: Sequence[Request]) -> np.ndarray:
    """Returns the soft prompts [R, K, D] float32 that `answer` uses for requests."""
    read = lambda soft: np.asarray(soft.tokens)
    return np.stack(self._of_soft_prompts(requests, read))

  def drafts(self, requests: Sequence[Request]) -> list[list[int]]:
    """Returns the `Answered.draft` of requests, without running the decoder.

    Raises:
      ValueError: the soft prompts have no slots, or the engine has no options.
    """
    found = self._of_soft_prompts(requests, lambda soft: self._drafts(soft) or [])
    if len(found) < len(requests):
      raise ValueError(
        'this model drafts no answer: expected a recipe with build.draft'
      )
    return found

  def _of_soft_prompts(self, requests, read) -> list:
    """Returns what `read` gives for the soft prompt of each request."""
    told = {}
    for places, length, rows in self._batches(requests):
      soft, _ = self._inputs([requests[place] for place in places], length, rows)
      told |= dict(zip(places, read(soft), strict=False))
    return [told[place] for place in sorted(told)]

  def _drafts(self, soft) -> list[list[int]] | None:
    """Returns the words in the slots of soft prompts; None if they are not known."""
    if soft.slot_logits is None or not self._options.number:
      return None
    return np.asarray(chosen_words(soft.slot_logits, self._options)).tolist()

  def _batches(self, requests) -> Iterator[tuple[list[int], int, int]]:
    """Yields (indices of requests, padded length, padded number of rows) of batches.

    A batch has requests of similar length and the smallest static shape that fits. All
    batches except the last are full, since each number of rows is compiled separately.
    """
    batch_size, longest, _, batch_tokens = self._limits
    fixed = len(self._prompt) if batch_tokens else 0
    lengths = [_bucket(x.length - fixed, longest) + fixed for x in requests]
    order = sorted(range(len(requests)), key=lambda place: requests[place].length)
    at = 0
    while at < len(order):
      most = batch_size
      if batch_tokens:
        candidates = order[at : at + most]
        most = max(1, min(most, batch_tokens // lengths[candidates[-1]]))
      batch = order[at : at + most]
      yield batch, lengths[batch[-1]], _bucket(len(batch), most)
      at += most

  def _inputs(self, requests, length, rows):
    """Returns (soft prompts, task prompts); unused rows are padding."""
    if self._limits.batch_tokens:
      vectors, mask = np.zeros((rows, 0, 1), np.float32), np.zeros((rows, 0), np.int32)
      tokens = np.zeros((rows, length), np.int32)
      lengths = np.full(rows, len(self._prompt))
      tokens[:, : len(self._prompt)] = self._prompt
      for row, request in enumerate(requests):
        lengths[row] = len(request.prompt)
        tokens[row, : lengths[row]] = request.prompt
      prompt = persoma.Prompts(tokens, np.arange(length) < lengths[:, None])
    else:
      vectors = np.zeros((rows, length, self._limits.width), np.float32)
      mask = np.zeros((rows, length), np.int32)
      prompt = persoma.Prompts(self._prompt, np.ones_like(self._prompt))  # of all rows
      for row, request in enumerate(requests):
        size = len(request.vectors)
        vectors[row, :size], mask[row, :size] = request.vectors, 1
    return self._soft(self.params, vectors, mask), prompt


def _writer(model, task: generate.Task, decoding: Decoding):
  """Returns a function (params, soft, prompts, keys) -> Generated."""
  beams, temperature = decoding.beams, decoding.temperature
  if beams > 1:
    return lambda *args: generate.beam_search(model, *args[:3], task, beams)
  if not temperature:
    return lambda *args: generate.greedy(model, *args[:3], task)
  return lambda *args: generate.sample(model, *args[:3], task, args[3], temperature)


def trained_params(
  model: persoma.Persoma,
  params: Mapping,
  folder: str,
  decoder_sha256: str,
  history: tuple[int, int],
) -> dict:
  """Returns {'adapter': ..., 'decoder': ...} of a trained model.

  Args:
    model: model of the adapter's recipe.
    params: parameters of the decoder from before the training.
    folder: folder of the adapter.
    decoder_sha256: fingerprint of `params`.
    history: shape [N, H] of a history's vectors.

  Raises:
    ValueError: the adapter was trained with another decoder, or lacks parameters.
  """
  trained = checkpoints.load_adapter(folder, decoder_sha256)
  found = freezing.overlay({'decoder': params}, trained)
  mask = np.zeros((1, history[0]), np.int32)
  start = lambda: model.adapter.init(
    jax.random.key(0), np.zeros((1, *history), np.float32), mask
  )
  expected = jax.eval_shape(start)['params']
  checkpoints.check_same(expected, found.get('adapter', {}), folder)
  return found


def _load(model_dir: str, weights: str, limits: Limits) -> tuple[persoma.Persoma, dict]:
  """Returns the model in its fastest form, and its parameters on the device.

  LoRA is merged into float32 weights, other weights are converted, and the layers are
  unrolled.
  """
  model, decoder = persoma.build()
  folder = f'{model_dir}/adapter'
  params = trained_params(
    model,
    decoder.params,
    folder,
    checkpoints.fingerprint(decoder.params),
    (0, 1) if limits.batch_tokens else (limits.longest, limits.width),
  )
  kind = operand_types.chosen_type(weights)
  decoder = params['decoder']
  if kind == 'float32':
    decoder = lora.merge_lora(decoder)
  tuned = quantization.converted(decoder, kind)
  module = start_tokens.as_trained(model.decoder, checkpoints.adapter_manifest(folder))
  module, tuned = stack.unrolled(module, tuned)
  return model.clone(decoder=module), jax.device_put({**params, 'decoder': tuned})


def _keys(texts: Sequence[str], rows: int, seed: int) -> jax.Array:
  """Returns a random key for each row, which depends only on the seed and its text."""
  sums = [zlib.crc32(text.encode()) for text in texts]
  sums = np.array(sums + [0] * (rows - len(sums)), np.uint32)
  return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(sums)


def _bucket(size: int, longest: int) -> int:
  """Returns the smallest of a quarter, half and all of `longest` that fits `size`."""
  return next(n for n in (-(-longest // part) for part in (4, 2, 1)) if n >= size)
