"""Records logits and answers of T5 models with random weights, by transformers.

The tests of `persoma_tf.decoders.t5` and `hugging_face_t5` compare with them. Two
models are small and stored as Hugging Face stores them; two have the shapes of T5
Small and Flan-T5 Base, and their weights are made anew wherever they are needed. In
an environment of its own:

    pip install torch transformers
    python -m benchmarks.record_t5_reference
"""

import pathlib
import tempfile

import numpy as np
import torch
import transformers

from tests.persoma_tf.decoders import t5_weights

_FOLDER = pathlib.Path('tests/persoma_tf/decoders/tiny_t5')
_STRIDE, _NEW_TOKENS = 1_000, 8


def main() -> None:
  """Writes the small models, and the recordings of all."""
  # 1.0 in bfloat16 and one file, 1.1 in float32 and several.
  tiny = {
    'v1_0': (t5_weights.TINY_V1_0, torch.bfloat16, '1MB'),
    'v1_1': (t5_weights.TINY_V1_1, torch.float32, '40KB'),
  }
  for name, (config, dtype, size) in tiny.items():
    _load(config).to(dtype).save_pretrained(_FOLDER / name, max_shard_size=size)
    model = transformers.T5ForConditionalGeneration.from_pretrained(
      _FOLDER / name, dtype=torch.float32
    )
    _save(_FOLDER / name / 'recorded.npz', _record(model, (14, 9), stride=1))
  for name, config in {'small': t5_weights.SMALL, 'base': t5_weights.BASE}.items():
    recorded = _record(_load(config), (150, 9), stride=_STRIDE)
    # Embeddings of this width are large, and are told by the tokens.
    del recorded['prefix'], recorded['prefix_logits']
    _save(_FOLDER / f'{name}.npz', recorded)
  print(_FOLDER, torch.__version__, transformers.__version__)


def _load(config):
  with tempfile.TemporaryDirectory() as folder:
    t5_weights.write(pathlib.Path(folder), config)
    model = transformers.T5ForConditionalGeneration.from_pretrained(folder)
  made = t5_weights.weights(config)  # transformers ties what it is not told to untie
  head = made.get('lm_head.weight', made['shared.weight'])
  assert np.array_equal(model.lm_head.weight.detach().numpy(), head)
  return model.eval()


def _record(model, lengths, stride):
  """Two rows of tokens, one padded on the right, and of embeddings."""
  rng = np.random.default_rng(0)
  vocabulary, width = model.config.vocab_size, model.config.d_model
  places = np.arange(max(lengths)) < np.array(lengths)[:, None]
  tokens = rng.integers(2, vocabulary, places.shape) * places
  inputs = np.pad(rng.integers(2, vocabulary, (2, 12)), ((0, 0), (1, 0)))
  prefix = rng.normal(0, 2, (*places.shape, width)).astype(np.float32)
  mask = torch.tensor(places, dtype=torch.long)
  asked = {'attention_mask': mask, 'decoder_input_ids': torch.tensor(inputs)}
  with torch.no_grad():
    logits = model(input_ids=torch.tensor(tokens), **asked).logits
    prefix_logits = model(inputs_embeds=torch.tensor(prefix), **asked).logits
  written = _write(model, attention_mask=mask, input_ids=torch.tensor(tokens))
  return {
    'stride': np.array(stride),
    'tokens': tokens.astype(np.int32),
    'inputs': inputs.astype(np.int32),
    'logits': logits[..., ::stride].numpy(),
    'best': logits.argmax(-1).numpy().astype(np.int32),
    'written': written,
    'prefix': prefix,
    'prefix_logits': prefix_logits[..., ::stride].numpy(),
  }


def _write(model, **prefix):
  """The greedy answer, never ended."""
  model.generation_config.eos_token_id = None
  # The cache of transformers takes both stacks to have the encoder's depth.
  settings = {'do_sample': False, 'use_cache': False, 'decoder_start_token_id': 0}
  answer = model.generate(**prefix, **settings, max_new_tokens=_NEW_TOKENS)
  return answer[:, 1:].numpy().astype(np.int32)


def _save(path, recorded):
  np.savez_compressed(path, **recorded)
  logits, answers = recorded['logits'], recorded['written']
  print(path, f'logits up to {np.abs(logits).max():.1f}', answers[:, :4].tolist())


if __name__ == '__main__':
  main()
