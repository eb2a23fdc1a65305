"""Records what PyTorch and transformers make of Gemma 3 models.

A small random model as Hugging Face stores it, and logits, answers and token ids of
Gemma 3 270M. The tests of the decoder and of its vocabulary compare with the
recordings. In an environment of its own, with the asset in the cache and 6 GB of
memory:

    pip install torch transformers gguf numpy tqdm
    python -m benchmarks.record_gemma_reference
"""

import json
import pathlib

import numpy as np
import torch
import transformers

from benchmarks import reference_texts
from persoma_tf import asset_table, assets

_DECODERS = pathlib.Path('tests/persoma_tf/decoders')
_IDS = pathlib.Path('tests/tasks/gemma3_token_ids.json')
_STRIDE, _NEW_TOKENS = 512, 12
_SHAPE = {
  'vocab_size': 60,
  'hidden_size': 24,
  'num_hidden_layers': 7,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'head_dim': 8,
  'query_pre_attn_scalar': 8,
  'intermediate_size': 40,
  'sliding_window': 6,
  'initializer_range': 0.3,
}


def main() -> None:
  """Writes all recordings."""
  _small(_DECODERS / 'tiny_gemma')
  folder, (file,) = assets.path('gemma3-270m'), asset_table.ASSETS['gemma3-270m'].files
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file)
  encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
  rows = [[text, encode(text)] for text in reference_texts.varied()]
  _IDS.write_text(json.dumps(rows, ensure_ascii=True, separators=(',', ':')) + '\n')
  model = transformers.AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=file, dtype=torch.float32
  ).eval()
  _real(model, encode, _DECODERS / 'gemma3_reference.npz')
  print(_DECODERS, _IDS, torch.__version__, transformers.__version__)


def _small(folder: pathlib.Path) -> None:
  """A model in bfloat16 with local and global layers, read beyond its window."""
  torch.manual_seed(0)
  config = transformers.Gemma3TextConfig(**_SHAPE)
  model = transformers.Gemma3ForCausalLM(config)
  for name, weights in model.named_parameters():
    if 'norm' in name:  # these start at zero
      torch.nn.init.normal_(weights, std=0.3)
  model.to(torch.bfloat16).save_pretrained(folder)
  (folder / 'generation_config.json').unlink()
  # Read back: casting the module itself would round its rotary frequencies too.
  stored = transformers.Gemma3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
  tokens = torch.arange(3, 51).reshape(2, 24)
  with torch.no_grad():
    logits = stored(tokens).logits.numpy()
  np.savez_compressed(folder / 'logits.npz', tokens=tokens, logits=logits)


def _real(model, encode, target: pathlib.Path) -> None:
  """Logits of every `_STRIDE`th token and greedy answers, behind the start token."""
  rope = model.config.rope_parameters
  assert rope['full_attention']['rope_theta'] == 1e6, rope
  assert rope['sliding_attention']['rope_theta'] == 1e4, rope
  assert model.config.sliding_window == 512, model.config
  recorded = {'stride': np.array(_STRIDE)}
  for number, prompt in enumerate(reference_texts.PROMPTS):
    ids = torch.tensor([[model.config.bos_token_id, *encode(prompt)]])
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
  np.savez_compressed(target, **recorded)


if __name__ == '__main__':
  main()
