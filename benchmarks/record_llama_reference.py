"""Records small random Llama models, as Hugging Face stores them, and their logits.

The tests of `persoma_tf.decoders.hugging_face` read them. In an environment of its own:

    pip install torch transformers
    python benchmarks/record_llama_reference.py
"""

import pathlib

import numpy as np
import torch
import transformers

_FOLDER = pathlib.Path('tests/persoma_tf/decoders/tiny_llama')
_SHAPE = {
  'vocab_size': 50,
  'hidden_size': 24,
  'num_hidden_layers': 3,
  'num_attention_heads': 6,
  'num_key_value_heads': 2,
  'intermediate_size': 40,
  'rope_theta': 5_000.0,
  'initializer_range': 0.3,
}


def main() -> None:
  """Writes a tied model in bfloat16 and an untied one in two files."""
  tokens = torch.arange(1, 25).reshape(2, 12)
  kinds = {'tied': (True, torch.bfloat16), 'untied': (False, torch.float32)}
  for name, (tied, dtype) in kinds.items():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**_SHAPE, tie_word_embeddings=tied)
    model = transformers.LlamaForCausalLM(config).to(dtype)
    model.save_pretrained(_FOLDER / name, max_shard_size='1MB' if tied else '40KB')
    # Read back: casting the module itself would round its rotary frequencies too.
    stored = transformers.LlamaForCausalLM.from_pretrained(
      _FOLDER / name, dtype=torch.float32
    )
    with torch.no_grad():
      logits = stored(tokens).logits.numpy()
    np.savez_compressed(_FOLDER / name / 'logits.npz', tokens=tokens, logits=logits)
  print(_FOLDER, torch.__version__, transformers.__version__)


if __name__ == '__main__':
  main()
