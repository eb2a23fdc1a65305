"""Prompt tuning by transformers and PEFT: the peer of benchmarks/training_speed.py.

Runs in an environment of its own (pip install torch transformers peft gguf):

    python benchmarks/peft_peer.py --gguf=model.gguf --batches=batches.npz \
      --dtype=float32 --pad=limit --steps=12

Prints one JSON line: seconds a step (median), peak memory, versions.
"""

import argparse
import json
import pathlib
import resource
import time

import numpy as np
import peft
import torch
import transformers


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
  parser.add_argument('--steps', type=int, default=12)
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
  batches, times = load_batches(flags.batches, flags.pad), []
  for step in range(flags.steps + 3):
    started = time.perf_counter()
    loss = model(**batches[step % len(batches)]).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    times.append(time.perf_counter() - started)
  square = torch.ones(2048, 2048, dtype=getattr(torch, flags.dtype))
  clock = []
  for _ in range(8):
    started = time.perf_counter()
    square @ square
    clock.append(time.perf_counter() - started)
  print(
    json.dumps(
      {
        # A mean where steps differ in length.
        'seconds_a_step': float(
          (np.mean if flags.pad == 'longest' else np.median)(times[3:])
        ),
        'loss': float(loss),
        'matmul_gflops': 2 * 2048**3 / min(clock) / 1e9,
        'peak_memory_gb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        'versions': {x.__name__: x.__version__ for x in (torch, transformers, peft)},
      }
    )
  )


if __name__ == '__main__':
  main()
