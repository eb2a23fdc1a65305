"""Writes answers with vLLM, in a process of its own.

`vllm_engine` starts this file with the Python of an environment that has vLLM, whose
pins do not go together with ours. So the file imports nothing of ours, and what comes
through the socket has types of Python alone. The process ends as soon as the other end
of the socket is closed, however that came about.

vLLM keeps answers to a form by the arrays of `grammar.Grammar`, not by a regular
expression: that would let a list name something twice, or write a name with other
tokens than in the training.
"""

import functools
import os
import queue
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np


class FormWalk:
  """Tells which tokens may come next, as `grammar.Grammar` does, for single answers."""

  def __init__(self, arrays: dict[str, Any], start: tuple[int, int, tuple[int, ...]]):
    """Takes the fields of a grammar as lists, and (state, place, names) of the start.

    Args:
      arrays: name of a field of `grammar.Grammar` -> its value.
      start: how far every answer is written when it begins, see `grammar.Reached`.
    """
    self._form = {name: np.array(value) for name, value in arrays.items()}
    self._after = functools.lru_cache(100_000)(self._find)
    self._start = start

  def allowed(self, written: Sequence[int]) -> np.ndarray:
    """Returns the ids [A] int of the tokens that may follow the written ones."""
    reached = self._start
    for token in written:
      reached = self._after(*reached)[token]
    return np.fromiter(self._after(*reached), int)

  def _find(self, state, place, names) -> dict[int, tuple]:
    """Returns what is reached by each token that may come next."""
    form = self._form
    edges = np.arange(*form['first'][state : state + 2])
    low, high, below = form['low'][edges], form['high'][edges], form['below'][place]
    kinds = form['after'][place] >= 0
    taken = form['phrases'][list(names)][:, kinds].reshape(1, -1)
    inside = (low[:, None] <= taken) & (taken < high[:, None])
    left = below[high] - below[low] - inside.sum(1)
    stands = edges[(left > 0) | (low == high)].tolist()
    return {int(form['tokens'][x]): self._reach(place, names, x) for x in stands}

  def _reach(self, place, names, edge) -> tuple:
    """Returns what is reached by an edge."""
    form, phrase = self._form, self._form['told'][edge]
    state = int(form['next'][edge])
    if phrase < 0:
      return state, place, names
    place = int(form['after'][place, form['kinds'][phrase]])
    if not (count := int(form['named'][place])):
      return state, place, (-1,) * len(names)
    named = (*names[: count - 1], int(form['names'][phrase]))
    return state, place, named + (-1,) * (len(names) - count)


def form_processor(walk: FormWalk) -> type:
  """Returns a class of vLLM that lets a form's tokens pass, with their logits."""
  import torch
  from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

  class FormProcessor(AdapterLogitsProcessor):
    """Keeps every request to the form."""

    def is_argmax_invariant(self) -> bool:
      """Tells vLLM that the most probable token may change."""
      return False

    def new_req_logits_processor(self, params):
      """Returns the function that masks a request's logits [V]."""
      del params
      return keep

  def keep(written, logits):
    allowed = torch.from_numpy(walk.allowed(written)).to(logits.device)
    masked = torch.full_like(logits, -torch.inf)
    masked[allowed] = logits[allowed]
    return masked

  return FormProcessor


class Writer:
  """Writes answers behind prefixes, greedily."""

  def __init__(self, settings: dict[str, Any]):
    """Loads the decoder.

    Args:
      settings: `folder` of the decoder, as Hugging Face has it; `dtype`; `seqs`, number
        of answers at once; `form`, arguments of `FormWalk` or None; `ends`, ids of
        tokens that end an answer; `max_tokens` of an answer.
    """
    import vllm

    form = settings['form']
    processors = [form_processor(FormWalk(*form))] if form else None
    self._dtype = settings['dtype']
    self._model = vllm.LLM(
      model=settings['folder'],
      dtype=self._dtype,
      max_num_seqs=settings['seqs'],
      enable_prompt_embeds=True,
      skip_tokenizer_init=True,
      enforce_eager=True,  # compilation takes minutes, which a shard does not earn
      async_scheduling=False,  # a form needs the token before
      enable_prefix_caching=False,
      logprobs_mode='processed_logprobs',  # among the allowed tokens, as ours are
      logits_processors=processors,
    )
    self._params = vllm.SamplingParams(
      temperature=0,
      max_tokens=settings['max_tokens'],
      stop_token_ids=settings['ends'],
      ignore_eos=True,  # `stop_token_ids` has all ends
      logprobs=0,
      detokenize=False,
    )

  def write(
    self, prefixes: Sequence[tuple[tuple[int, int], bytes]]
  ) -> list[tuple[list[int], float]]:
    """Returns (token ids with the end, log probability in nats) of each answer.

    Args:
      prefixes: shape (P, D) and float32 values of each prefix.
    """
    import torch

    dtype = getattr(torch, self._dtype)
    prompts = []
    for shape, values in prefixes:
      embedded = torch.frombuffer(bytearray(values), dtype=torch.float32)
      prompts.append({'prompt_embeds': embedded.reshape(shape).to(dtype)})
    found = self._model.generate(prompts, self._params, use_tqdm=False)
    return [
      ([*x.outputs[0].token_ids], float(x.outputs[0].cumulative_logprob)) for x in found
    ]


def main() -> None:
  """Answers what comes through the socket, whose number is the only argument."""
  os.environ.setdefault('VLLM_ENABLE_V1_MULTIPROCESSING', '0')  # one process to end
  os.environ.setdefault('VLLM_CPU_KVCACHE_SPACE', '3')  # GB; else half of the memory
  os.environ.setdefault('VLLM_CPU_OMP_THREADS_BIND', 'nobind')
  os.environ.setdefault('VLLM_NO_USAGE_STATS', '1')
  os.environ.setdefault('HF_HUB_OFFLINE', '1')
  os.dup2(2, 1)  # logs belong to the log
  channel, asked = Connection(int(sys.argv[1])), queue.SimpleQueue()
  threading.Thread(target=_listen, args=(channel, asked), daemon=True).start()
  try:
    writer = Writer(asked.get())
    channel.send(None)
    while True:
      channel.send(writer.write(asked.get()))
  except BaseException as error:
    channel.send(f'{type(error).__name__}: {error}')
    raise


def _listen(channel, asked):
  """Queues what comes; ends the process, whatever it does, when nobody asks more."""
  try:
    while True:
      asked.put(channel.recv())
  except (EOFError, OSError):
    os._exit(0)


if __name__ == '__main__':
  main()
