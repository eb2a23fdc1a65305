"""`generate` of transformers: the peer of benchmarks/decoding.py.

Runs in an environment of its own (pip install torch transformers gguf accelerate):

    python benchmarks/generate_peer.py --decoder=folder --inputs=inputs.npz \
      --show=soft_prompts|text --batch_size=64 --dtype=float32

Prints one JSON line: users and tokens a second of the median of some passes after a
first one, these passes' seconds, peak memory, tokens.
"""

import argparse
import json
import pathlib
import re
import statistics
import time

import numpy as np
import torch
import transformers


def main() -> None:
  """Measures."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--decoder', required=True, help='a folder, or a GGUF file')
  parser.add_argument('--inputs', required=True)
  parser.add_argument('--show', choices=('soft_prompts', 'text'), required=True)
  parser.add_argument('--batch_size', type=int, required=True)
  parser.add_argument('--dtype', default='float32')
  parser.add_argument('--passes', type=int, default=3)
  flags = parser.parse_args()
  torch.set_num_threads(2)
  inputs, path = np.load(flags.inputs), pathlib.Path(flags.decoder)
  place = (path.parent, path.name) if path.suffix == '.gguf' else (path, None)
  model = transformers.AutoModelForCausalLM.from_pretrained(
    place[0], gguf_file=place[1], dtype=getattr(torch, flags.dtype)
  ).eval()
  seconds, made = timed_passes(model, inputs, flags)
  first, *seconds = seconds if seconds[1:] else seconds * 2
  median, written = statistics.median(seconds), sum(len(row) for row in made)
  found = {
    'users': len(made),
    'seconds': seconds,
    'users_a_second': len(made) / median,
    'tokens_a_second': written / median,
    'first_pass_seconds': first,
    'peak_memory_gb': peak_memory_gb(),
    'versions': {x.__name__: x.__version__ for x in (torch, transformers)},
    'answers': [' '.join(map(str, row)) for row in made],
  }
  print(json.dumps(found))


def timed_passes(model, inputs, flags) -> tuple[list[float], list[list[int]]]:
  """Seconds of the first pass and of those after it, and the tokens of the answers."""
  seconds = []
  for _ in range(1 + flags.passes):
    started = time.perf_counter()
    made = answer(model, inputs, flags)
    seconds.append(time.perf_counter() - started)
    if flags.show == 'text' and seconds[0] > 60:  # as slow as that, it needs no warm-up
      break
  return seconds, made


@torch.inference_mode()
def answer(model, inputs, flags) -> list[list[int]]:
  """Tokens of each user's answer, without the end."""
  eos_id, made = int(inputs['eos_id']), []
  settings = {
    'max_new_tokens': int(inputs['max_tokens']),
    'do_sample': False,
    'eos_token_id': eos_id,
    'pad_token_id': eos_id,
  }
  name = 'soft_prompts' if flags.show == 'soft_prompts' else 'texts'
  for at in range(0, len(inputs[name]), flags.batch_size):
    some = inputs[name][at : at + flags.batch_size]
    if name == 'soft_prompts':
      prompt = torch.tensor(inputs['prompt']).expand(len(some), -1)
      soft = torch.tensor(some, dtype=model.dtype)
      shown = torch.cat([soft, model.get_input_embeddings()(prompt)], dim=1)
      mask = torch.ones(shown.shape[:2], dtype=torch.long)
      tokens = model.generate(inputs_embeds=shown, attention_mask=mask, **settings)
    else:  # padded on the left
      some = some[:, -max((row > 0).sum() for row in some) :]
      ids = torch.tensor(some.astype(np.int64))
      tokens = model.generate(ids, attention_mask=(ids > 0).long(), **settings)
      tokens = tokens[:, ids.shape[1] :]
    for row in tokens.tolist():
      made.append(row[: row.index(eos_id)] if eos_id in row else row)
  return made


def peak_memory_gb() -> float:
  """This process's largest resident memory; `getrusage` would count its parent's."""
  status = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) / 1e6


if __name__ == '__main__':
  main()
