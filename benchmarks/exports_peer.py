"""Logits of exported folders by transformers and PEFT: the peer of `exports`.

Runs in an environment of its own (pip install torch transformers peft):

    python benchmarks/exports_peer.py FOLDER

Prints one JSON line: the largest difference of each model's logits from ours, and the
versions.
"""

import json
import pathlib
import sys

import numpy as np
import peft
import torch
import transformers


def main(folder: pathlib.Path) -> None:
  """Compares every model in a folder with `<name>.npz`, tokens and logits of ours."""
  found = {}
  for file in sorted(folder.glob('*.npz')):
    stored, path = np.load(file), file.with_suffix('')
    made = model_in(path)
    tokens = torch.tensor(stored['tokens'].astype(np.int64))
    with torch.no_grad():
      logits = made(tokens).logits.float().numpy()
    found[file.stem] = float(np.abs(logits - stored['logits']).max())
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder / 'smollm2')
  texts = json.loads((folder / 'texts.json').read_text())
  same = sum(tokenizer.encode(text) == ids for text, ids in texts)
  versions = {x.__name__: x.__version__ for x in (torch, transformers, peft)}
  found |= {'equal_texts': same, 'texts': len(texts), 'versions': versions}
  print(json.dumps(found))


def model_in(path: pathlib.Path):
  """The model of a Hugging Face folder, or a PEFT folder on its base model."""
  load = transformers.AutoModelForCausalLM.from_pretrained
  if not (path / 'adapter_config.json').exists():
    return load(path, dtype=torch.float32)
  settings = json.loads((path / 'adapter_config.json').read_text())
  base = load(settings['base_model_name_or_path'], dtype=torch.float32)
  return peft.PeftModel.from_pretrained(base, path)


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))
