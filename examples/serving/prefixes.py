"""Reads soft prompts for another server of their decoder.

Nothing of PERSOMA is imported: pyarrow, safetensors, torch and transformers are enough.
"""

import pathlib

import pyarrow.dataset
import torch
import transformers
from safetensors import safe_open

from examples.serving.fitting import check_decoder


def read_prefixes(predictions: pathlib.Path, decoder: pathlib.Path) -> dict:
  """Returns user_id -> [P, D] float32, what the decoder reads before its answer.

  Args:
    predictions: folder of `pipelines.batch_predict --soft_prompts`.
    decoder: folder of `persoma_tf.export_decoder`.

  Raises:
    ValueError: the soft prompts are not of this decoder, or lack a common task prompt.
  """
  run, about = check_decoder(predictions, decoder)
  files = sorted(map(str, predictions.glob('soft_prompts-*.parquet')))
  table = pyarrow.dataset.dataset(files).to_table()
  tokens, width = map(table.schema.metadata.get, (b'num_tokens', b'width'))
  values = torch.tensor(table['soft_prompt'].combine_chunks().values.to_numpy())
  soft = values.reshape(-1, int(tokens), int(width))
  with safe_open(decoder / 'model.safetensors', 'pt') as weights:
    embedding = weights.get_tensor('model.embed_tokens.weight')
  embed = lambda ids: embedding[ids].float() * about['embedding_scale']
  tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
  prompt = tokenizer(run['model']['task_prompt'], add_special_tokens=False).input_ids
  start = [x for x in [run['model']['start_token']] if x is not None]
  users = zip(table['user_id'].to_pylist(), soft, strict=True)
  return {user: torch.cat([embed(start), x, embed(prompt)]) for user, x in users}
