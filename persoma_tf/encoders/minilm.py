"""all-MiniLM-L6-v2: 6 BERT layers, mean of the states, unit length.

Reimers and Gurevych 2019 (arXiv 1908.10084), Wang et al. 2020 (arXiv 2002.10957).
"""

from safetensors.numpy import load_file
from tokenizers import Tokenizer

from persoma_tf import asset_table, assets
from persoma_tf.encoders.bert import Bert, BertSettings

_NAME = 'all-MiniLM-L6-v2'
# From the settings of the published model.
_SETTINGS = BertSettings(num_layers=6, num_heads=12, max_length=256)


def load_minilm() -> Bert:
  """Loads the encoder; downloads its weights if they are not in the cache."""
  folder = assets.path(_NAME)
  tokenizer = Tokenizer.from_file(str(folder / 'tokenizer.json'))
  weights = load_file(folder / 'model.safetensors')
  sha256 = asset_table.ASSETS[_NAME].files['model.safetensors'][1]
  return Bert(_NAME, _SETTINGS, tokenizer, weights, sha256)
