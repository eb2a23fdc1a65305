"""Records small random models of all decoder families, and transformers' logits.

The tests of `persoma_tf.decoders.families` read them. In an environment of its own:

    pip install torch transformers
    python benchmarks/record_family_references.py

Every model is written as transformers stores it, in float16 to be small. Its
config.json has the keys of a published model of the family; the sizes are small, and
what changes the computation (biases, windows, scalings) is in effect within 24 tokens.
"""

import json
import pathlib
import shutil

import numpy as np
import torch
import transformers

FOLDER = pathlib.Path('tests/persoma_tf/decoders/tiny_families')
_SHAPE = {
  'vocab_size': 50,
  'hidden_size': 24,
  'num_hidden_layers': 4,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'intermediate_size': 32,
  'max_position_embeddings': 64,
  'initializer_range': 0.3,
  'pad_token_id': None,
  'bos_token_id': 1,
  'eos_token_id': 2,
}
_LLAMA3 = {
  'rope_type': 'llama3',
  'rope_theta': 500.0,
  'factor': 8.0,
  'low_freq_factor': 1.0,
  'high_freq_factor': 4.0,
  'original_max_position_embeddings': 16,
}
_YARN = {
  'rope_type': 'yarn',
  'rope_theta': 1000.0,
  'factor': 4.0,
  'original_max_position_embeddings': 16,
}
_GEMMA = {
  'head_dim': 8,
  'sliding_window': 5,
  'query_pre_attn_scalar': 12,
  'layer_types': ['sliding_attention', 'sliding_attention', 'full_attention']
  + ['sliding_attention'],
  'rope_parameters': {
    'sliding_attention': {'rope_type': 'default', 'rope_theta': 100.0},
    'full_attention': {'rope_type': 'linear', 'rope_theta': 1e6, 'factor': 8.0},
  },
}
# Name -> (class of the configuration, what it has beside _SHAPE).
MODELS = {
  'llama3': ('Llama', {'rope_parameters': _LLAMA3, 'tie_word_embeddings': True}),
  'llama_biases': ('Llama', {'attention_bias': True}),
  'mistral': ('Mistral', {'sliding_window': 5, 'head_dim': 8}),
  'mistral_nemo': ('Mistral', {'sliding_window': None, 'head_dim': 10}),
  'qwen2': ('Qwen2', {'tie_word_embeddings': True}),
  'qwen2_windows': (
    'Qwen2',
    {'use_sliding_window': True, 'sliding_window': 5, 'max_window_layers': 2},
  ),
  'qwen2_yarn': ('Qwen2', {'rope_parameters': _YARN}),
  'qwen3': ('Qwen3', {'head_dim': 8, 'tie_word_embeddings': True}),
  'smollm3': ('SmolLM3', {'no_rope_layers': [1, 1, 1, 0], 'use_sliding_window': False}),
  'gemma3': ('Gemma3Text', _GEMMA),
}


def main() -> None:
  """Writes all models and their logits."""
  shutil.rmtree(FOLDER, ignore_errors=True)
  tokens = torch.arange(1, 49).reshape(2, 24)
  for name, (family, more) in MODELS.items():
    torch.manual_seed(0)
    config = getattr(transformers, f'{family}Config')(**{**_SHAPE, **more})
    kind = 'Gemma3' if family == 'Gemma3Text' else family
    model = getattr(transformers, f'{kind}ForCausalLM')(config)
    for parameter in model.parameters():  # biases and norms that do something
      if parameter.ndim == 1:
        torch.nn.init.normal_(parameter, 0.5, 0.3)
    model.to(torch.float16).save_pretrained(FOLDER / name)
    stored = type(model).from_pretrained(FOLDER / name, dtype=torch.float32)
    with torch.no_grad():
      logits = stored(tokens).logits.numpy()
      written = stored.generate(
        tokens[:, :6], max_new_tokens=12, do_sample=False, eos_token_id=None
      )
    np.savez_compressed(
      FOLDER / name / 'logits.npz', tokens=tokens, logits=logits, written=written
    )
    (FOLDER / name / 'generation_config.json').unlink()
    config = json.loads((FOLDER / name / 'config.json').read_text())
    print(name, config.get('rope_parameters'), float(np.abs(logits).max()))
  print(torch.__version__, transformers.__version__)


if __name__ == '__main__':
  main()
