"""vLLM alone behind soft prompts and texts: the peer of `serving` and `lora_requests`.

Runs in an environment of its own (`make setup-vllm`):

    python benchmarks/vllm_peer.py --folder=smollm2 --inputs=inputs.npz \
      --case=soft_prompts|kept|text_10|text_50 --dtype=bfloat16 [--lora=lora]

Prints one JSON line: users a second of the median of some passes after a first one, the
passes' seconds, peak memory, the tokens of the answers.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import time

import numpy as np

_SETTINGS = {
  'VLLM_ENABLE_V1_MULTIPROCESSING': '0',
  'VLLM_CPU_KVCACHE_SPACE': '3',  # GB
  'VLLM_CPU_OMP_THREADS_BIND': 'nobind',
  'VLLM_NO_USAGE_STATS': '1',
  'HF_HUB_OFFLINE': '1',
}


def main() -> None:
  """Measures."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--folder', required=True, help='of the decoder, Hugging Face')
  parser.add_argument('--inputs', required=True)
  parser.add_argument('--case', required=True)
  parser.add_argument('--dtype', required=True)
  parser.add_argument('--lora', help='PEFT folder that every request names')
  parser.add_argument('--passes', type=int, default=3)
  flags = parser.parse_args()
  os.environ.update({**_SETTINGS, **os.environ})
  import torch
  import transformers
  import vllm
  from vllm.lora.request import LoRARequest

  inputs = np.load(flags.inputs)
  shown = prompts(flags, inputs)
  model = vllm.LLM(
    model=flags.folder,
    dtype=flags.dtype,
    max_num_seqs=len(inputs['soft_prompts']),
    enable_prompt_embeds=True,
    enforce_eager=True,
    enable_prefix_caching=False,
    enable_lora=bool(flags.lora),
    lora_target_modules=lora_modules(flags.lora) if flags.lora else None,
  )
  lora = LoRARequest('lora', 1, flags.lora) if flags.lora else None
  regex = str(inputs['regex']) if flags.case == 'kept' else None
  form = vllm.sampling_params.StructuredOutputsParams(regex=regex) if regex else None
  params = vllm.SamplingParams(
    temperature=0, max_tokens=int(inputs['max_tokens']), structured_outputs=form
  )
  seconds = []
  for _ in range(1 + flags.passes):
    started = time.perf_counter()
    found = model.generate(shown, params, use_tqdm=False, lora_request=lora)
    seconds.append(time.perf_counter() - started)
  first, *seconds = seconds
  made = [[*x.outputs[0].token_ids] for x in found]
  row = {
    'users': len(made),
    'seconds': seconds,
    'users_a_second': len(made) / statistics.median(seconds),
    'first_pass_seconds': first,
    'peak_memory_gb': peak_memory_gb(),
    'versions': {x.__name__: x.__version__ for x in (vllm, torch, transformers)},
    'answers': made,
  }
  print(f'\n{json.dumps(row)}')


def lora_modules(folder: str) -> list[str]:
  """The modules that have LoRA; the others need not be multiplied by zeros.

  The embedding is one of those: vLLM 0.32 fails there if a batch has prompts that are
  embeddings, and answers that are tokens.
  """
  about = pathlib.Path(folder, 'adapter_config.json').read_text()
  return json.loads(about)['target_modules']


def prompts(flags, inputs) -> list[dict]:
  """What the users' prompts are to vLLM."""
  import torch
  from safetensors import safe_open

  if flags.case.startswith('text'):
    rows = inputs[flags.case].tolist()
    return [{'prompt_token_ids': [x for x in row if x >= 0]} for row in rows]
  with safe_open(f'{flags.folder}/model.safetensors', 'pt') as file:
    table = file.get_tensor('model.embed_tokens.weight').float()
  behind = table[torch.tensor(inputs['prompt'].astype(np.int64))]
  dtype = getattr(torch, flags.dtype)
  soft = torch.tensor(inputs['soft_prompts'])
  return [{'prompt_embeds': torch.cat([x, behind]).to(dtype)} for x in soft]


def peak_memory_gb() -> float:
  """This process's largest resident memory; `getrusage` would count its parent's."""
  status = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) / 1e6


if __name__ == '__main__':
  main()
