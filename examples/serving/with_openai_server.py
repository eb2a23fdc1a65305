"""Answers behind exported soft prompts with vLLM's server, by OpenAI's protocol.

    python -m vllm.entrypoints.openai.api_server --model=smollm2 --dtype=float32 \
      --enable-prompt-embeds --enforce-eager
    python -m examples.serving.with_openai_server --predictions=predictions \
      --decoder=smollm2 > answers.jsonl

With `--enable-lora --lora-modules lora=lora`, the server also answers with LoRA from a
PEFT folder, if the request names it, as `--lora=lora` does; see docs/serving.md for
`--lora-target-modules`.

Writes what `batch_predict --noconstrained --weights=float32` writes as `text`.
"""

import argparse
import base64
import io
import json
import pathlib
import urllib.request


def main() -> None:
  """Answers some users at once."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--predictions', type=pathlib.Path, required=True)
  parser.add_argument('--decoder', type=pathlib.Path, required=True)
  parser.add_argument(
    '--lora', type=pathlib.Path, help='PEFT folder; the server knows it by its name'
  )
  parser.add_argument('--server', default='http://127.0.0.1:8000')
  parser.add_argument('--batch_size', type=int, default=64)
  flags = parser.parse_args()
  from examples.serving.prefixes import read_limits, read_prefixes

  prefixes = read_prefixes(flags.predictions, flags.decoder, flags.lora)
  decoder, *_ = ask(f'{flags.server}/v1/models')['data']
  model = flags.lora.name if flags.lora else decoder['id']
  max_tokens, _ = read_limits(flags.predictions)
  settings = {'model': model, 'max_tokens': max_tokens, 'temperature': 0}
  for at in range(0, len(prefixes), flags.batch_size):
    users = [*prefixes][at : at + flags.batch_size]
    shown = [encoded(prefixes[user]) for user in users]
    request = {**settings, 'prompt_embeds': shown}
    choices = ask(f'{flags.server}/v1/completions', request)['choices']
    for user, choice in zip(users, choices, strict=True):
      print(json.dumps({'user_id': user, 'text': choice['text']}), flush=True)


def encoded(prefix) -> str:
  """Returns a tensor as vLLM reads it: a file of torch in base64."""
  import torch

  file = io.BytesIO()
  torch.save(prefix, file)
  return base64.b64encode(file.getvalue()).decode()


def ask(address: str, request: dict | None = None) -> dict:
  """Returns what the server answers."""
  data = json.dumps(request).encode() if request else None
  headers = {'Content-Type': 'application/json'}
  with urllib.request.urlopen(urllib.request.Request(address, data, headers)) as file:
    return json.load(file)


if __name__ == '__main__':
  main()
