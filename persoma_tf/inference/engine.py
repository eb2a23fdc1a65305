"""Answers many requests with a trained model, in batches of a few static shapes.

The engine works on tokens, masks and grammars. Only the caller (`tasks.predictor`)
knows the question of a request and the meaning of the tokens.
"""

import copy
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from persoma_tf import model as persoma
from persoma_tf.answer_form import Options
from persoma_tf.answer_template import chosen_words
from persoma_tf.inference import batch_shapes, generate
from persoma_tf.inference.batch_shapes import Limits
from persoma_tf.inference.decoding_settings import Decoding
from persoma_tf.inference.draft_ahead import DraftAhead
from persoma_tf.inference.trained_model import for_question, load_trained


class Request(NamedTuple):
  """Asks for one answer.

  Attributes:
    key: text that, together with the seed, determines the random draws: the user's id,
      or the example's.
    vectors: [n, H] float32 vectors of the history; None if the history is text.
    prompt: [t] int32 tokens of the task prompt, behind those of the history if it is
      text; None for the engine's task prompt. All requests have one, or none has.
    asked: [C, H'] float32 vectors of the items that the question is about; None without
      any.
  """

  key: str
  vectors: np.ndarray | None
  prompt: np.ndarray | None = None
  asked: np.ndarray | None = None

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
    odds: [S, W] float32 probability of each word in each slot, if `Limits.tells_odds`
      asks for them; None without slots.
    option_odds: [O] float32 probability of each option to the decoder; None if the task
      names no options.
  """

  tokens: list[int]
  log_prob: float
  draft: list[int] | None = None
  odds: np.ndarray | None = None
  option_odds: np.ndarray | None = None


class Engine:
  """Answers requests in batches, with a trained adapter and its decoder.

  Batches have few static shapes: the number of requests and the length of the histories
  are each padded to a quarter, half or all of their limit.

  Attributes:
    model: model whose decoder layers are unrolled instead of stacked, with the draft of
      the engine's question alone.
    params: parameters of this model, on the device.
    trained: the model with the drafts of all its questions.
    task: end, length and grammar of all answers.
  """

  def __init__(
    self,
    model_dir: str,
    prompt: Sequence[int],
    task: generate.Task,
    limits: Limits,
    decoding: Decoding,
    options: Options = Options(),  # noqa: B008  immutable
    question: int | None = 0,
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
      question: number of the question among those of the model, which has a draft for
        it; None masks the draft, so that the decoder reads the user tokens alone.

    Raises:
      ValueError: the adapter was trained with another decoder, or the parameters do not
        fit.
    """
    self._decoding = decoding
    shape = (0, 1) if limits.batch_tokens else (limits.longest, limits.width)
    self.trained, self._params = self._load(model_dir, limits, shape)
    self._ask(prompt, task, limits, options, question)

  def asking(
    self,
    prompt: Sequence[int],
    task: generate.Task,
    limits: Limits,
    options: Options,
    question: int | None,
  ) -> 'Engine':
    """Returns one that shares the model; of the limits, `tells_odds` may differ."""
    other = copy.copy(self)
    other._ask(prompt, task, limits, options, question)
    return other

  def _ask(self, prompt, task, limits, options, question):
    self._prompt, self._limits = np.array(prompt, np.int32), limits
    self.task, self._options = task, options
    self.model, self.params = for_question(self.trained, self._params, question)
    self._soft = jax.jit(functools.partial(generate.soft_prompt, self.model))
    self._write(task)

  def _load(self, model_dir, limits, shape):
    """Returns the model and its parameters."""
    return load_trained(model_dir, self._decoding.weights, shape, limits.asked)

  def _write(self, task):
    """Makes ready to write answers."""
    self._answer = jax.jit(_writer(self.model, task, self._decoding))
    self._ahead = DraftAhead(self.model, task, self._decoding)

  def answer(self, requests: Sequence[Request]) -> list[Answered]:
    """Returns the answers to requests, in the same order."""
    answers = {}
    for places, length, rows in self._batches(requests):
      batch = [requests[place] for place in places]
      soft, prompt = self._inputs(batch, length, rows)
      keys = batch_shapes.random_keys(
        [request.key for request in batch], rows, self._decoding.seed
      )
      drafts = self._drafts(soft)
      asked = soft, prompt, keys, self._ahead.tokens(drafts)
      generated = jax.device_get(self._answer(self.params, *asked))
      some = drafts, self._odds(soft), generated.option_odds
      some = [itertools.repeat(None) if x is None else x for x in some]
      for place, tokens, log_prob, *told in zip(
        places, generated.tokens, generated.log_prob, *some, strict=False
      ):
        answers[place] = Answered(tokens.tolist(), float(log_prob), *told)
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
    return self._of_drafts(requests, self._drafts)

  def draft_odds(self, requests: Sequence[Request]) -> list[np.ndarray]:
    """Returns the `Answered.odds` of requests, without running the decoder.

    Raises:
      ValueError: the soft prompts have no slots, or the limits do not tell odds.
    """
    return self._of_drafts(requests, self._odds)

  def _of_drafts(self, requests, tell) -> list:
    """Returns what `tell` gives for soft prompts; refuses None."""

    def read(soft):
      told = tell(soft)
      return [] if told is None else told

    found = self._of_soft_prompts(requests, read)
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

  def _odds(self, soft) -> np.ndarray | None:
    """Returns the probabilities [B, S, W] of the words in slots, if they are told."""
    if soft.slot_logits is None or not self._limits.tells_odds:
      return None
    return np.asarray(jax.nn.softmax(soft.slot_logits))

  def _batches(self, requests) -> Iterator[tuple[list[int], int, int]]:
    """Yields (indices of requests, padded length, padded number of rows) of batches.

    A batch has requests of similar length and the smallest static shape that fits. All
    batches except the last are full, since each number of rows is compiled separately.
    """
    batch_size, longest, _, batch_tokens, *_ = self._limits
    fixed = len(self._prompt) if batch_tokens else 0
    lengths = [
      batch_shapes.bucket_size(x.length - fixed, longest) + fixed for x in requests
    ]
    size = lambda place: requests[place].length
    if requests and requests[0].prompt is not None and not batch_tokens:
      # Of histories in one bucket, those with prompts of similar length.
      size = lambda place: (lengths[place], len(requests[place].prompt))
    order = sorted(range(len(requests)), key=size)
    at = 0
    while at < len(order):
      most = batch_size
      if batch_tokens:
        candidates = order[at : at + most]
        most = max(1, min(most, batch_tokens // lengths[candidates[-1]]))
      batch = order[at : at + most]
      yield batch, lengths[batch[-1]], batch_shapes.bucket_size(len(batch), most)
      at += most

  def _inputs(self, requests, length, rows):
    """Returns (soft prompts, task prompts); unused rows are padding."""
    if self._limits.batch_tokens:
      vectors, mask = np.zeros((rows, 0, 1), np.float32), np.zeros((rows, 0), np.int32)
      return self._soft(self.params, vectors, mask), self._own(requests, length, rows)
    vectors = np.zeros((rows, length, self._limits.width), np.float32)
    mask = np.zeros((rows, length), np.int32)
    asked = np.zeros((rows, *self._limits.asked), np.float32)
    present = np.zeros(asked.shape[:2], np.int32)
    for row, request in enumerate(requests):
      size = len(request.vectors)
      vectors[row, :size], mask[row, :size] = request.vectors, 1
      if request.asked is not None:
        size = len(request.asked)
        asked[row, :size], present[row, :size] = request.asked, 1
    more = {'asked': asked, 'present': present} if self._limits.asked else {}
    soft = self._soft(self.params, vectors, mask, **more)
    if requests[0].prompt is None:
      prompt = persoma.Prompts(self._prompt, np.ones_like(self._prompt))  # of all rows
      return soft, prompt
    longest = max(len(request.prompt) for request in requests)
    return soft, self._own(requests, batch_shapes.padded_size(longest), rows)

  def _own(self, requests, length, rows) -> persoma.Prompts:
    """Returns the prompts of requests, padded; unused rows have the task prompt."""
    tokens = np.zeros((rows, length), np.int32)
    lengths = np.full(rows, len(self._prompt))
    tokens[:, : len(self._prompt)] = self._prompt
    for row, request in enumerate(requests):
      lengths[row] = len(request.prompt)
      tokens[row, : lengths[row]] = request.prompt
    return persoma.Prompts(tokens, np.arange(length) < lengths[:, None])


def _writer(model, task: generate.Task, decoding: Decoding):
  """Returns a function (params, soft, prompts, keys, drafts) -> Generated."""
  beams, temperature = decoding.beams, decoding.temperature
  if beams > 1:
    return lambda *args: generate.beam_search(model, *args[:3], task, beams)
  if not temperature:
    return lambda *args: generate.greedy(model, *args[:3], task, args[4])
  return lambda *args: generate.sample(model, *args[:3], task, args[3], temperature)
