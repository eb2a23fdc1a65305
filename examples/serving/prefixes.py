"""Reads soft prompts for another server of their decoder.

pyarrow, safetensors, torch and transformers are enough: of PERSOMA, a file is imported
that needs numpy alone.
"""

import json
import pathlib

import pyarrow.dataset
import torch
import transformers
from safetensors import safe_open

from examples.serving.fitting import check_decoder
from persoma_tf.inference.vllm_server import FormWalk


def read_prefixes(
  predictions: pathlib.Path, decoder: pathlib.Path, lora: pathlib.Path | None = None
) -> dict:
  """Returns user_id -> [P, D] float32, what the decoder reads before its answer.

  Args:
    predictions: folder of `pipelines.batch_predict --soft_prompts`.
    decoder: folder of `persoma_tf.export_decoder`.
    lora: folder of `persoma_tf.export_decoder --form=peft` that changes the decoder.

  Raises:
    ValueError: the soft prompts are not of this decoder, or lack a common task prompt.
  """
  run, about = check_decoder(predictions, decoder, lora)
  table = _soft_prompts(predictions).to_table()
  tokens, width = told(predictions, 'num_tokens', 'width')
  values = torch.tensor(table['soft_prompt'].combine_chunks().values.to_numpy())
  soft = values.reshape(-1, tokens, width)
  with safe_open(decoder / 'model.safetensors', 'pt') as weights:
    embedding = weights.get_tensor('model.embed_tokens.weight')
  embed = lambda ids: embedding[ids].float() * about['embedding_scale']
  tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
  prompt = tokenizer(run['model']['task_prompt'], add_special_tokens=False).input_ids
  start = [x for x in [run['model']['start_token']] if x is not None]
  users = zip(table['user_id'].to_pylist(), soft, strict=True)
  return {user: torch.cat([embed(start), x, embed(prompt)]) for user, x in users}


def read_limits(predictions: pathlib.Path) -> tuple[int, FormWalk | None]:
  """Returns what the table's answers are kept to.

  Args:
    predictions: folder of `pipelines.batch_predict --soft_prompts`.

  Returns:
    (most tokens of an answer, their form or None if they are free).
  """
  most, form = told(predictions, 'max_tokens', 'form')
  return most, FormWalk(form) if form else None


def told(predictions: pathlib.Path, *names: str) -> list:
  """Returns what the metadata of soft prompts say."""
  metadata = _soft_prompts(predictions).schema.metadata
  return [json.loads(metadata[name.encode()]) for name in names]


def _soft_prompts(predictions):
  files = sorted(map(str, predictions.glob('soft_prompts-*.parquet')))
  return pyarrow.dataset.dataset(files)
