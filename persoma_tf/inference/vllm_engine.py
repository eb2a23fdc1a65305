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
from persoma_tf.inference.grammar import Grammar
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
    task, decoding = self._task, self._decoding
    decoding.check_engine('vllm')
    if task.options is not None:
      raise ValueError(
        f'scored_options={decoding.scored_options} with engine=vllm, which tells no '
        'probabilities of options behind a soft prompt: expected scored_options=0, '
        'for those of the draft alone, or engine=jax'
      )
    model, params, name = trained_model.merged(model_dir, shape, limits.asked)
    if not isinstance(model.decoder, DecoderOnly):
      raise ValueError(
        f'decoder {name} with engine=vllm, which takes soft prompts of decoder-only '
        'models: expected engine=jax'
      )
    kind = chosen_type(decoding.weights)
    form, self._begun = form_of(task.grammar)
    with tempfile.TemporaryDirectory() as folder:  # vLLM has read it when it starts
      config, decoder = model.decoder.config, params['decoder']
      path = pathlib.Path(folder)
      hugging_face_export.write_model(path, name, config, decoder, kind)
      settings = {
        'folder': folder,
        'dtype': kind,
        'seqs': 4 * limits.batch_size,
        'form': form,
        'ends': [task.eos_id, *task.other_ends],
        'max_tokens': task.max_tokens - len(self._begun),
      }
      self._server = VllmProcess(self._python, settings)
    self._prefix = jax.jit(self._prefix_of)
    embedder = {'embedder': params['decoder']['embedder']}
    return model, jax.device_put({**params, 'decoder': embedder})

  def _write(self, task):
    """Checks that vLLM was started for these answers."""
    if task is not self._task:
      raise ValueError(
        'engine=vllm answers one question a run: expected one name in questions, or '
        'engine=jax'
      )

  def _prefix_of(self, params, soft, prompt):
    begun = np.array(self._begun, np.int32)
    arguments = soft, prompt, begun
    return self.model.apply({'params': params}, *arguments, method=Persoma.all_before)

  def answer(self, requests: Sequence[Request]) -> list[Answered]:
    """Returns the answers to requests, in the same order."""
    prefixes, told = {}, {}
    for places, length, rows in self._batches(requests):
      batch = [requests[place] for place in places]
      soft, prompt = self._inputs(batch, length, rows)
      embedded, mask = jax.device_get(self._prefix(self.params, soft, prompt))
      some = self._drafts(soft), self._odds(soft)
      some = [itertools.repeat(None) if x is None else x for x in some]
      real = zip(places, embedded, mask, *some, strict=False)
      for place, row, own, *about in real:
        prefixes[place], told[place] = row[own], about
    order = range(len(requests))
    written = self._server.write([prefixes[place] for place in order])
    return [self._answered(*written[place], told[place]) for place in order]

  def _answered(self, tokens, log_prob, told) -> Answered:
    """Returns an answer as the other engine writes it."""
    task = self._task
    tokens = [task.eos_id if x in task.other_ends else x for x in tokens]
    tokens = [*self._begun, *tokens]
    padding = [task.eos_id] * (task.max_tokens - len(tokens))
    return Answered(tokens + padding, log_prob, *told)


def form_of(grammar: Grammar | None) -> tuple[tuple | None, list[int]]:
  """Returns a grammar as the other process reads it.

  Args:
    grammar: grammar of the answers; None for free ones.

  Returns:
    (arguments of `vllm_server.FormWalk`, or None; ids of the tokens that all answers
    begin with).
  """
  if grammar is None:
    return None, []
  begun, reached = grammar.forced()
  arrays = {name: np.asarray(x).tolist() for name, x in grammar._asdict().items()}
  state, place, names = (np.asarray(x)[0].tolist() for x in reached)
  return (arrays, (state, place, tuple(names))), begun


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
    self._ask(self.settings)

  def write(self, prefixes: Sequence[np.ndarray]) -> list[tuple[list[int], float]]:
    """Returns (token ids, log probability in nats) of the answer to each prefix.

    Args:
      prefixes: [P, D] float32 each.
    """
    values = [np.ascontiguousarray(x, np.float32) for x in prefixes]
    return self._ask([(x.shape, x.tobytes()) for x in values])

  def _ask(self, message):
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
