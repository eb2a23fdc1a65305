"""Answers behind exported soft prompts with `generate` of transformers.

    python -m examples.serving.with_transformers --predictions=predictions \
      --decoder=smollm2 > answers.jsonl

Writes what `batch_predict --weights=float32` writes as `text`, kept to its form, or
freely if the table was made with `--noconstrained`.
"""

import argparse
import json
import pathlib


def main() -> None:
  """Answers one user after the other."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--predictions', type=pathlib.Path, required=True)
  parser.add_argument('--decoder', type=pathlib.Path, required=True)
  flags = parser.parse_args()
  import torch
  import transformers

  from examples.serving.prefixes import read_limits, read_prefixes

  prefixes = read_prefixes(flags.predictions, flags.decoder)
  max_tokens, form = read_limits(flags.predictions)
  allowed = form and (lambda _, written: form.allowed(written.tolist()).tolist())
  tokenizer = transformers.AutoTokenizer.from_pretrained(flags.decoder)
  load = transformers.AutoModelForCausalLM.from_pretrained
  model = load(flags.decoder, dtype=torch.float32).eval()
  for user, prefix in prefixes.items():
    (tokens,) = model.generate(
      inputs_embeds=prefix[None],
      attention_mask=torch.ones(1, len(prefix), dtype=torch.long),
      max_new_tokens=max_tokens,
      do_sample=False,
      prefix_allowed_tokens_fn=allowed,  # which makes a logits processor of it
    )
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    print(json.dumps({'user_id': user, 'text': text}), flush=True)


if __name__ == '__main__':
  main()
