"""Answers requests with vLLM behind the soft prompts of a trained adapter.

The adapter runs here, in JAX. The decoder runs in a process with another environment
(`vllm_server`), which reads it from a Hugging Face folder that is written for it, with
LoRA merged: a worker answers for one adapter alone. Both engines are kept to the same
grammar, so in float32 they write the same tokens but for ties of logits.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import jax
import numpy as np

from persoma_tf.decoders import hugging_face_export
from persoma_tf.decoders.decoder_only import DecoderOnly
from persoma_tf.inference import trained_model, vllm_server
from persoma_tf.inference.engine import Answered, Engine, Request
from persoma_tf.model import Persoma
from persoma_tf.operand_types import chosen_type


class VllmEngine(Engine):
  """Answers requests as `Engine` does, but vLLM writes.

  Of the decoder, `params` have the embeddings alone.
  """

  def __init__(self, python: str, *args: Any, **settings: Any):
    """Loads the adapter and starts vLLM.

    Args:
      python: Python of an environment with vLLM.
      *args: arguments of `Engine`.
      **settings: arguments of `Engine`.

    Raises:
      ValueError: as of `Engine`, or vLLM cannot decode so, or is not there.
    """
    self._python = python
    super().__init__(*args, **settings)

  def _load(self, model_dir, limits, shape):
    """Returns the model and its parameters without the layers; starts vLLM."""
    decoding = self._decoding
    decoding.check_engine('vllm')
    model, params, name = trained_model.merged(model_dir, shape, limits.asked)
    if not isinstance(model.decoder, DecoderOnly):
      raise ValueError(
        f'decoder {name} with engine=vllm, which takes soft prompts of decoder-only '
        'models: expected engine=jax'
      )
    kind = chosen_type(decoding.weights)
    with tempfile.TemporaryDirectory() as folder:  # vLLM has read it when it starts
      config, decoder = model.decoder.config, params['decoder']
      path = pathlib.Path(folder)
      hugging_face_export.write_model(path, name, config, decoder, kind)
      settings = {
        'folder': folder,
        'dtype': kind,
        'seqs': 4 * limits.batch_size,
      }
      self._server = VllmProcess(self._python, settings)
    embedder = {'embedder': params['decoder']['embedder']}
    return model, jax.device_put({**params, 'decoder': embedder})

  def _write(self, task):
    """Tells vLLM the form of the answers."""
    grammar = task.grammar
    self._begun = grammar.forced()[0] if grammar else []
    form = (grammar.as_lists(), self._begun) if grammar else None
    self._rule = self._server.ask('learn', form)
    self._prefix = jax.jit(self._prefix_of)

  def _prefix_of(self, params, soft, prompt):
    begun = np.array(self._begun, np.int32)
    arguments = soft, prompt, begun
    return self.model.apply({'params': params}, *arguments, method=Persoma.all_before)

  def answer(self, requests: Sequence[Request]) -> list[Answered]:
    """Returns the answers to requests, in the same order."""
    prefixes, told, scored = {}, {}, {}
    for places, length, rows in self._batches(requests):
      batch = [requests[place] for place in places]
      soft, prompt = self._inputs(batch, length, rows)
      embedded, mask = jax.device_get(self._prefix(self.params, soft, prompt))
      some = self._drafts(soft), self._odds(soft)
      some = [itertools.repeat(None) if x is None else x for x in some]
      chosen = (
        itertools.repeat(None) if self.task.options is None else self._scored(soft)
      )
      real = zip(places, embedded, mask, chosen, *some, strict=False)
      for place, row, own, options, *about in real:
        prefixes[place], told[place], scored[place] = row[own], about, options
    order = range(len(requests))
    sent = [packed(prefixes[place]) for place in order]
    odds = self._option_odds([scored[place] for place in order], sent)
    task = self.task
    ends, most = [task.eos_id, *task.other_ends], task.max_tokens - len(self._begun)
    written = self._server.ask('write', self._rule, most, ends, sent)
    return [
      self._answered(*written[place], [*told[place], odds[place]]) for place in order
    ]

  def _scored(self, soft) -> np.ndarray:
    """Returns the numbers [B, C] of the options whose probabilities are told."""
    options = self.task.options
    return np.asarray(options.scored(soft.tokens.shape[0], soft.slot_logits))

  def _option_odds(self, scored, sent) -> list[np.ndarray | None]:
    """Returns `Answered.option_odds` behind each prefix."""
    if self.task.options is None:
      return [None] * len(sent)
    options = self.task.options.without(len(self._begun))
    ids = [x[:n].tolist() for x, n in zip(options.tokens, options.lengths, strict=True)]
    found = self._server.ask('score', [[ids[x] for x in own] for own in scored], sent)
    odds = np.zeros((len(sent), len(ids)), np.float32)
    for row, own, costs in zip(odds, scored, found, strict=True):
      row[own] = jax.nn.softmax(np.array(costs, np.float32))
    return [*odds]

  def _answered(self, tokens, log_prob, told) -> Answered:
    """Returns an answer as the other engine writes it."""
    task = self.task
    tokens = [task.eos_id if x in task.other_ends else x for x in tokens]
    tokens = [*self._begun, *tokens]
    padding = [task.eos_id] * (task.max_tokens - len(tokens))
    return Answered(tokens + padding, log_prob, *told)


def packed(prefix: np.ndarray) -> tuple[tuple[int, ...], bytes]:
  """Returns a prefix [P, D] as `vllm_server.Prefixes` has it."""
  return prefix.shape, np.ascontiguousarray(prefix, np.float32).tobytes()


@dataclasses.dataclass
class VllmProcess:
  """Runs `vllm_server`; it ends with this process, or when this is garbage.

  Attributes:
    python: Python of an environment with vLLM.
    settings: settings of `vllm_server.Writer`.

  Raises:
    ValueError: there is no such Python, or vLLM does not start.
  """

  python: str
  settings: dict[str, Any]

  def __post_init__(self):
    find = "import importlib.util as x, sys; sys.exit(x.find_spec('vllm') is None)"
    is_there = os.access(self.python, os.X_OK)
    if not is_there or subprocess.run([self.python, '-P', '-c', find]).returncode:
      raise ValueError(
        f'vllm_python={self.python}: no Python that has vLLM; make setup-vllm makes '
        f'the environment .venv-vllm, or name the Python of one that has vLLM'
      )
    ours, theirs = socket.socketpair()
    with theirs:
      number = theirs.fileno()
      command = [self.python, '-P', vllm_server.__file__, str(number)]
      subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[number])
    self._channel = Connection(ours.detach())
    self._send(self.settings)

  def ask(self, method: str, *arguments: Any) -> Any:
    """Returns what a method of `vllm_server.Writer` returns.

    Args:
      method: name of the method.
      *arguments: its arguments, of types that a Python without ours can read.

    Raises:
      RuntimeError: the process ended, or the method failed.
    """
    return self._send((method, *arguments))

  def _send(self, message):
    with contextlib.suppress(OSError):  # what it said before it ended can be read
      self._channel.send(message)
    try:
      answer = self._channel.recv()
    except (EOFError, OSError) as error:
      raise RuntimeError(
        f'the process of vLLM ({self.python}) ended; its log above says why'
      ) from error
    if isinstance(answer, str):
      raise RuntimeError(f'vLLM ({self.python}): {answer}')
    return answer
