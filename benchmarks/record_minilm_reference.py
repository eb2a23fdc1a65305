"""Records sentence vectors of all-MiniLM-L6-v2 made by PyTorch and transformers.

The test of `persoma_tf.encoders.minilm` compares with the recording, so that it needs
neither. In an environment of its own, with the asset in the cache:

    pip install torch transformers safetensors numpy tqdm
    python -m benchmarks.record_minilm_reference
"""

import pathlib

import numpy as np
import torch
import transformers
from safetensors.torch import load_file

from benchmarks import reference_texts
from persoma_tf import assets

_TARGET = pathlib.Path('tests/persoma_tf/encoders/minilm_reference.npz')


def main() -> None:
  """Writes the recording: texts [100] and vectors [100, 384] float32."""
  folder = assets.path('all-MiniLM-L6-v2')
  config = transformers.BertConfig(
    vocab_size=30_522,
    hidden_size=384,
    num_hidden_layers=6,
    num_attention_heads=12,
    intermediate_size=1536,
    max_position_embeddings=512,
  )
  model = transformers.BertModel(config, add_pooling_layer=False).eval()
  weights = load_file(folder / 'model.safetensors')
  wrong = model.load_state_dict(weights, strict=False)
  assert not wrong.missing_keys, wrong
  tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_file=str(folder / 'tokenizer.json'), pad_token='[PAD]'
  )
  texts = reference_texts.sentences()
  vectors = []
  for text in texts:
    batch = tokenizer([text], truncation=True, max_length=256, return_tensors='pt')
    with torch.no_grad():
      inputs = {name: batch[name] for name in ('input_ids', 'attention_mask')}
      hidden = model(**inputs).last_hidden_state[0]
    # The file of the tokenizer may ask for padding: it does not count.
    kept = hidden[batch['attention_mask'][0].bool()]
    vectors.append(torch.nn.functional.normalize(kept.mean(0), dim=0).numpy())
  np.savez_compressed(_TARGET, texts=np.array(texts), vectors=np.array(vectors))
  print(_TARGET, len(texts), torch.__version__, transformers.__version__)


if __name__ == '__main__':
  main()
