"""LoRA that vLLM's requests name, against LoRA that is merged into its weights.

    python -m benchmarks.lora_requests --vllm_python=.venv-vllm/bin/python \
      [--users=205] [--repetitions=3]

SmolLM2-135M with random LoRA of rank 8 in the attention's matrices, exported as a PEFT
folder and merged; behind random embeddings, as many as of 17 soft tokens and a prompt;
greedy, free answers to all users at once. Each repetition runs each case in a process
of its own, whose second pass counts.

Writes `benchmarks/results/lora_requests.json`: users a second, the ratios of each
repetition, and how many answers are the same tokens.
"""

import argparse
import collections
import itertools
import json
import pathlib
import shutil
import tempfile

import numpy as np

from benchmarks import decoding
from benchmarks.exports import with_lora
from benchmarks.processes import last_line
from benchmarks.result_files import RESULTS
from persoma_tf import decoders, export_decoder
from persoma_tf.decoders import hugging_face_export
from persoma_tf.parameters import lora

_DECODER = 'smollm2-135m-instruct'
_SOFT, _PROMPT, _ANSWER = 17, 5, 16  # tokens


def main() -> None:
  """Measures and writes."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--vllm_python', required=True)
  parser.add_argument('--users', type=int, default=205)
  parser.add_argument('--repetitions', type=int, default=3)
  parser.add_argument(
    '--out', type=pathlib.Path, default=RESULTS / 'lora_requests.json'
  )
  flags = parser.parse_args()
  rows = collections.defaultdict(list)
  with tempfile.TemporaryDirectory() as folder:
    write(pathlib.Path(folder), flags.users)
    cases = {'merged': ['merged'], 'requests': ['base', f'--lora={folder}/lora']}
    order = itertools.product(range(flags.repetitions), decoding.TYPES, cases.items())
    for _, dtype, (name, (decoder, *more)) in order:
      command = [flags.vllm_python, 'benchmarks/vllm_peer.py', '--passes=1']
      command += [f'--inputs={folder}/inputs.npz', f'--folder={folder}/{decoder}']
      command += [*more, '--case=soft_prompts', f'--dtype={dtype}']
      rows[f'{name}, {dtype}'].append(last_line(command))
  flags.out.write_text(json.dumps(about(rows), indent=2) + '\n')


def write(folder: pathlib.Path, users: int) -> None:
  """Writes the decoder, its LoRA, both merged, and what stands before the answers."""
  export_decoder.main([f'--decoder={_DECODER}', f'--output_dir={folder}/base'])
  shutil.copytree(folder / 'base', folder / 'merged')  # with its tokenizer
  (folder / 'lora').mkdir()
  tuned = with_lora(decoders.load_decoder(_DECODER), 'attention')
  parts = _DECODER, tuned.module.config
  hugging_face_export.write_peft(folder / 'lora', *parts, tuned.params)
  merged = lora.merge_lora(tuned.params)
  hugging_face_export.write_model(folder / 'merged', *parts, merged, 'float32')
  rng = np.random.default_rng(0)
  ids = rng.integers(tuned.vocab_size, size=(users, _SOFT))
  soft = np.asarray(tuned.params['embedder']['embedding'], np.float32)[ids]
  prompt = rng.integers(tuned.vocab_size, size=_PROMPT)
  inputs = {'soft_prompts': soft, 'prompt': prompt, 'max_tokens': _ANSWER}
  np.savez(folder / 'inputs.npz', **inputs)


def about(rows: dict[str, list[dict]]) -> dict:
  """The results file."""
  speeds = {name: [x['users_a_second'] for x in found] for name, found in rows.items()}
  ratios, same = {}, {}
  for dtype in decoding.TYPES:
    asked, merged = (f'{name}, {dtype}' for name in ('requests', 'merged'))
    pairs = zip(speeds[asked], speeds[merged], strict=True)
    ratios[dtype] = [a / b for a, b in pairs]
    answers = [*zip(*(rows[x][0]['answers'] for x in (asked, merged)), strict=True)]
    same[dtype] = f'{sum(a == b for a, b in answers)} of {len(answers)}'
  return {
    'command': 'python -m benchmarks.lora_requests',
    'machine': decoding.machine(),
    'versions': next(iter(rows.values()))[0]['versions'],
    'users_a_second': speeds,
    'requests / merged': ratios,
    'same_answers': same,
    'peak_memory_gb': {k: max(x['peak_memory_gb'] for x in v) for k, v in rows.items()},
  }


if __name__ == '__main__':
  main()
