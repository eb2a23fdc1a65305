"""Prompt tuning by transformers and PEFT: the peer of benchmarks/training_speed.py.

Runs in an environment of its own (pip install torch transformers peft gguf):

    python benchmarks/peft_peer.py --gguf=model.gguf --batches=batches.npz \
      --dtype=float32 --pad=limit --soft_tokens=17 --steps=4

Prints one JSON line: seconds a step (median of the parts), peak memory, versions.
"""

import argparse
import json
import pathlib
import re
import statistics
import time

import numpy as np
import peft
import torch
import transformers

_FIRST = 3  # steps that are not measured


def load_batches(path: str, pad: str) -> list[dict[str, torch.Tensor]]:
  """Prompt and target in one row, padded to the limit or to the batch's longest."""
  stored, rows = np.load(path), []
  for prompt, target in zip(stored['prompts'], stored['targets'], strict=True):
    if pad == 'longest':
      target = target[:, : (target > 0).sum(1).max()]
    ids = np.concatenate([prompt, target], axis=1)
    mask = ids > 0
    labels = np.where(mask, ids, -100)
    labels[:, : prompt.shape[1]] = -100
    arrays = {'input_ids': ids, 'attention_mask': mask, 'labels': labels}
    rows.append({key: torch.tensor(x.astype(np.int64)) for key, x in arrays.items()})
  return rows


def main() -> None:
  """Measures."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--gguf', required=True)
  parser.add_argument('--batches', required=True)
  parser.add_argument('--dtype', default='float32')
  parser.add_argument('--pad', choices=('limit', 'longest'), default='limit')
  parser.add_argument('--soft_tokens', type=int, required=True)
  parser.add_argument('--steps', type=int, default=4, help='of a part')
  parser.add_argument('--parts', type=int, default=3)
  flags = parser.parse_args()
  torch.set_num_threads(2)
  file = pathlib.Path(flags.gguf)
  model = transformers.AutoModelForCausalLM.from_pretrained(
    file.parent, gguf_file=file.name, dtype=getattr(torch, flags.dtype)
  )
  config = peft.PromptTuningConfig(
    task_type='CAUSAL_LM', num_virtual_tokens=flags.soft_tokens
  )
  model = peft.get_peft_model(model, config).train()
  trained = [x for x in model.parameters() if x.requires_grad]
  optimizer = torch.optim.AdamW(trained, lr=1e-3)
  times, loss = timed_steps(model, optimizer, flags)
  middle = statistics.mean if flags.pad == 'longest' else statistics.median
  starts = range(0, len(times), flags.steps)
  # A mean where steps differ in length.
  seconds = [middle(times[at : at + flags.steps]) for at in starts]
  found = {
    'seconds': seconds,
    'seconds_a_step': statistics.median(seconds),
    'loss': loss,
    'peak_memory_gb': peak_memory_gb(),
    'matmul_gflops': matmul_gflops(flags.dtype),
    'versions': {x.__name__: x.__version__ for x in (torch, transformers, peft)},
  }
  print(json.dumps(found))


def timed_steps(model, optimizer, flags) -> tuple[list[float], float]:
  """Seconds of the steps of all parts, after a few others, and the last loss."""
  batches, times = load_batches(flags.batches, flags.pad), []
  for step in range(_FIRST + flags.parts * flags.steps):
    started = time.perf_counter()
    loss = model(**batches[step % len(batches)]).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    times.append(time.perf_counter() - started)
  return times[_FIRST:], float(loss)


def matmul_gflops(dtype: str) -> float:
  """The fastest product of two matrices of a type, the result in the same type."""
  square, times = torch.ones(2048, 2048, dtype=getattr(torch, dtype)), []
  for _ in range(12):
    started = time.perf_counter()
    square @ square
    times.append(time.perf_counter() - started)
  return 2 * 2048**3 / min(times) / 1e9


def peak_memory_gb() -> float:
  """This process's largest resident memory; `getrusage` would count its parent's."""
  status = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) / 1e6


if __name__ == '__main__':
  main()
