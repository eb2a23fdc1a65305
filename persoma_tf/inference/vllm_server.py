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
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

# Shape (P, D) and float32 values of each.
Prefixes = Sequence[tuple[tuple[int, int], bytes]]


class FormWalk:
  """Tells which tokens may come next, as `grammar.Grammar` does, for single answers."""

  def __init__(self, form: dict[str, Any], begun: Sequence[int] = ()):
    """Takes a grammar, and what is not asked of the answers.

    Args:
      form: `grammar.Grammar.as_lists`.
      begun: ids of the first tokens of every answer, which the written ones lack.
    """
    self._form = {name: np.array(value) for name, value in form.items()}
    self._after = functools.lru_cache(100_000)(self._find)
    self._start = form['start'], 0, (-1,) * max(form['named'])
    self._start = self._reached(begun)

  def allowed(self, written: Sequence[int]) -> np.ndarray:
    """Returns the ids [A] int of the tokens that may follow the written ones."""
    return np.fromiter(self._after(*self._reached(written)), int)

  def _reached(self, written) -> tuple[int, int, tuple[int, ...]]:
    """Returns (state, place, names) behind tokens, see `grammar.Reached`."""
    reached = self._start
    for token in written:
      reached = self._after(*reached)[token]
    return reached

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


def form_processor(rules: Sequence[Callable]) -> type:
  """Returns a class of vLLM that lets the tokens of a rule pass, with their logits.

  Args:
    rules: functions (tokens so far, logits [V]) -> ids [A] of the tokens that may
      follow. A request's `extra_args` have the number of its rule.
  """
  import torch
  from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

  class FormProcessor(AdapterLogitsProcessor):
    """Keeps requests to their rules."""

    def is_argmax_invariant(self) -> bool:
      """Tells vLLM that the most probable token may change."""
      return False

    def new_req_logits_processor(self, params):
      """Returns the function that masks a request's logits [V]; None without a rule."""
      number = (params.extra_args or {}).get('rule')
      return None if number is None else functools.partial(keep, rules[number])

  def keep(rule, written, logits):
    allowed = torch.as_tensor(rule(written, logits), device=logits.device)
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
        of answers at once.
    """
    import vllm

    self._vllm, self._dtype = vllm, settings['dtype']
    self._rules: list[Callable] = []
    self._model = vllm.LLM(
      model=settings['folder'],
      dtype=self._dtype,
      max_num_seqs=settings['seqs'],
      enable_prompt_embeds=True,
      skip_tokenizer_init=True,
      enforce_eager=True,  # compilation takes minutes, which a shard does not earn
      async_scheduling=False,  # a rule needs the token before
      enable_prefix_caching=False,
      logprobs_mode='processed_logprobs',  # among the allowed tokens, as ours are
      logits_processors=[form_processor(self._rules)],
    )

  def learn(self, form: tuple | None) -> int | None:
    """Returns the number of the rule that keeps answers to a form; None without one.

    Args:
      form: arguments of `FormWalk`.
    """
    if form is None:
      return None
    walk = FormWalk(*form)
    self._rules.append(lambda written, logits: walk.allowed(written))
    return len(self._rules) - 1

  def write(
    self, rule: int | None, max_tokens: int, ends: Sequence[int], prefixes: Prefixes
  ) -> list[tuple[list[int], float]]:
    """Returns (token ids with the end, log probability in nats) of each answer.

    Args:
      rule: what `learn` returned.
      max_tokens: most tokens of an answer.
      ends: ids of the tokens that end an answer.
      prefixes: what stands before the answers.
    """
    params = self._params(max_tokens, rule, stop_token_ids=ends)
    found = self._model.generate(self._prompts(prefixes), params, use_tqdm=False)
    return [
      ([*x.outputs[0].token_ids], float(x.outputs[0].cumulative_logprob)) for x in found
    ]

  def score(
    self, options: Sequence[Sequence[Sequence[int]]], prefixes: Prefixes
  ) -> list[list[float]]:
    """Returns the log probability in nats of each option behind each prefix.

    A rule that lets an option alone pass reads what it would have cost.

    Args:
      options: for each prefix, the options as token ids.
      prefixes: what stands before the options.
    """
    prompts, params, scores, known = [], [], [], len(self._rules)
    for prompt, some in zip(self._prompts(prefixes), options, strict=True):
      scores.append([{} for _ in some])
      for option, costs in zip(some, scores[-1], strict=True):
        prompts.append(prompt)
        params.append(self._params(len(option), len(self._rules)))
        self._rules.append(functools.partial(_forced, option, costs))
    self._model.generate(prompts, params, use_tqdm=False)
    del self._rules[known:]
    return [[sum(costs.values()) for costs in some] for some in scores]

  def _params(self, max_tokens, rule, **settings):
    return self._vllm.SamplingParams(
      temperature=0,
      max_tokens=max_tokens,
      ignore_eos=True,  # `stop_token_ids` has all ends
      logprobs=0,
      detokenize=False,
      extra_args={'rule': rule},
      **settings,
    )

  def _prompts(self, prefixes: Prefixes) -> list[dict]:
    import torch

    read = lambda values: torch.frombuffer(bytearray(values), dtype=torch.float32)
    dtype = getattr(torch, self._dtype)
    return [{'prompt_embeds': read(x).reshape(p).to(dtype)} for p, x in prefixes]


def _forced(option, costs, written, logits):
  """Lets the next token of an option pass; notes its log probability."""
  place = len(written)
  costs[place] = float(logits.float().log_softmax(-1)[option[place]])
  return [option[place]]


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
      method, *arguments = asked.get()
      channel.send(getattr(writer, method)(*arguments))
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
