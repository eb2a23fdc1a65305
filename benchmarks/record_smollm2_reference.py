"""Records token ids, logits and answers of SmolLM2 made by PyTorch and transformers.

The tests of the decoder and of its vocabulary compare with the recordings. In an
environment of its own, with the asset in the cache:

    pip install torch transformers gguf numpy tqdm
    python -m benchmarks.record_smollm2_reference
"""

import json
import pathlib

import numpy as np
import torch
import transformers

from benchmarks import reference_texts
from persoma_tf import assets

_IDS = pathlib.Path('tests/tasks/smollm2_token_ids.json')
_LOGITS = pathlib.Path('tests/persoma_tf/decoders/smollm2_reference.npz')
_FILE = 'SmolLM2-135M-Instruct.Q4_1.gguf'
_STRIDE, _NEW_TOKENS = 64, 12


def main() -> None:
  """Writes both recordings."""
  folder = assets.path('smollm2-135m-instruct')
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=_FILE)
  encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
  texts = reference_texts.varied()
  rows = [[text, encode(text)] for text in texts]
  _IDS.write_text(json.dumps(rows, ensure_ascii=True, separators=(',', ':')) + '\n')
  model = transformers.AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=_FILE, dtype=torch.float32
  ).eval()
  recorded = {'stride': np.array(_STRIDE)}
  for number, prompt in enumerate(reference_texts.PROMPTS):
    ids = torch.tensor([encode(prompt)])
    with torch.no_grad():
      logits = model(ids).logits[0]
      written = ids
      for _ in range(_NEW_TOKENS):
        best = model(written).logits[0, -1].argmax()
        written = torch.cat([written, best[None, None]], dim=1)
    recorded[f'tokens_{number}'] = ids[0].numpy()
    recorded[f'logits_{number}'] = logits[:, ::_STRIDE].numpy()
    recorded[f'best_{number}'] = logits.argmax(-1).numpy()
    recorded[f'written_{number}'] = written[0, ids.shape[1] :].numpy()
  np.savez_compressed(_LOGITS, **recorded)
  print(_IDS, _LOGITS, torch.__version__, transformers.__version__)


if __name__ == '__main__':
  main()
