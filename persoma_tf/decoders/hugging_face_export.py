"""Writes decoders as Hugging Face folders, and LoRA's matrices as PEFT folders.

Other engines read these: transformers, vLLM, PEFT. Names and layouts are those that
`hugging_face` reads.
"""

import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util
from safetensors.flax import save_file

from persoma_tf.decoders import gguf_file, gguf_files, hugging_face
from persoma_tf.decoders.causal_lm import Config
from persoma_tf.decoders.families import BY_MODEL_TYPE
from persoma_tf.decoders.hugging_face_folder import HuggingFaceFolder

_BODY, _OUTPUT = 'model.', 'lm_head.weight'
_PEFT = {
  'peft_type': 'LORA',
  'task_type': 'CAUSAL_LM',
  'lora_dropout': 0.0,
  'bias': 'none',
  'fan_in_fan_out': False,
  'inference_mode': True,
}


def write_model(
  folder: pathlib.Path, name: str, config: Config, params: Mapping, dtype: str
) -> None:
  """Writes config.json and model.safetensors.

  Args:
    folder: existing, empty folder.
    name: name or path of the decoder, of which the settings are taken.
    config: configuration of the decoder.
    params: parameters of the decoder, without LoRA.
    dtype: type of the stored matrices, 'float32' or 'bfloat16'.

  Raises:
    ValueError: config.json has no words for the rotations of a GGUF file.
  """
  is_folder = pathlib.Path(name).is_dir()
  made = _settings_of_folder(name) if is_folder else _settings_of_gguf(name, config)
  made |= {'torch_dtype': dtype, 'dtype': dtype}
  _write_json(folder / 'config.json', made)
  tensors = tensors_of(config, params)
  save_file(
    {name: np.ascontiguousarray(x).astype(dtype) for name, x in tensors.items()},
    folder / 'model.safetensors',
    metadata={'format': 'pt'},
  )


def tensors_of(config: Config, params: Mapping) -> dict[str, np.ndarray]:
  """Returns the parameters of a decoder by Hugging Face's names, [out, in]."""
  offset = BY_MODEL_TYPE[config.family].norm_offset
  flat = traverse_util.flatten_dict(params, sep='/')
  found = {
    f'{_BODY}embed_tokens.weight': flat['embedder/embedding'],
    f'{_BODY}norm.weight': flat['final_norm/scale'] - offset,
  }
  if not config.tied:
    found[_OUTPUT] = flat['output/kernel'].T
  for ours, theirs in hugging_face.folder_names(config).items():
    for number, x in enumerate(flat[f'layers/{ours}']):
      x = x - offset if ours.endswith('scale') else x
      found[f'{_BODY}layers.{number}.{theirs}'] = x.T if x.ndim == 2 else x
  return found


def write_peft(
  folder: pathlib.Path, name: str, config: Config, params: Mapping
) -> None:
  """Writes LoRA's matrices as adapter_config.json and adapter_model.safetensors.

  Args:
    folder: existing, empty folder.
    name: name or path of the decoder that the matrices belong to.
    config: configuration of the decoder.
    params: parameters of the decoder with those of LoRA.

  Raises:
    ValueError: there are none of LoRA, or some outside the layers.
  """
  flat = traverse_util.flatten_dict(params, sep='/')
  tensors, scales, modules = {}, set(), set()
  for path, a in flat.items():
    if not path.endswith('/lora_a'):
      continue
    if not (found := re.fullmatch(r'layers/(.+)/lora_a', path)):
      raise ValueError(
        f'{path}: only the matrices of layers are written as PEFT has them; expected '
        '--form=merged'
      )
    parent = path.removesuffix('/lora_a')
    theirs = hugging_face.folder_names(config)[f'{found[1]}/kernel'].removesuffix(
      '.weight'
    )
    modules.add(theirs.rsplit('.', 1)[-1])
    scales |= {float(x) * a.shape[-1] for x in flat[f'{parent}/lora_scale']}
    for number in range(config.num_layers):
      of_layer = f'base_model.model.{_BODY}layers.{number}.{theirs}'
      tensors[f'{of_layer}.lora_A.weight'] = a[number].T
      tensors[f'{of_layer}.lora_B.weight'] = flat[f'{parent}/lora_b'][number].T
  if not tensors:
    raise ValueError(
      f'the decoder {name} was trained without LoRA; expected a model whose recipe has '
      "train.tuning = 'lora', or --form=merged"
    )
  settings = {
    **_PEFT,
    'base_model_name_or_path': name,
    'r': next(iter(tensors.values())).shape[0],
    'lora_alpha': scales.pop(),
    'target_modules': sorted(modules),
  }
  _write_json(folder / 'adapter_config.json', settings)
  tensors = {key: np.ascontiguousarray(x) for key, x in tensors.items()}
  save_file(tensors, folder / 'adapter_model.safetensors', metadata={'format': 'pt'})


def _settings_of_folder(name: str) -> dict[str, Any]:
  """Returns the config.json of a folder; of a model with images, that of the text."""
  folder = HuggingFaceFolder(name)
  settings = {
    key: value for key, value in folder.config.items() if not key.endswith('_config')
  }
  family = BY_MODEL_TYPE[settings['model_type']]
  defaults = family.defaults if folder.is_part else {}
  return {**defaults, **settings, 'architectures': [family.implementation]}


def _settings_of_gguf(name: str, config: Config) -> dict[str, Any]:
  """Returns a config.json that says what a GGUF file says."""
  path = gguf_file(name)
  meta, family = gguf_files.fields_of(path), BY_MODEL_TYPE[config.family]
  ends = {'eos_token_id': meta('tokenizer.ggml.eos_token_id', -1)}
  start = meta('tokenizer.ggml.bos_token_id', -1)
  start = start if config.start_token is None else config.start_token
  ids = {'bos_token_id': start, **ends}
  return {
    'architectures': [family.implementation],
    'model_type': family.model_type,
    'vocab_size': config.vocab_size,
    'hidden_size': config.d_model,
    'num_hidden_layers': config.num_layers,
    'num_attention_heads': config.num_heads,
    'num_key_value_heads': config.num_kv_heads,
    'head_dim': config.head_dim,
    'intermediate_size': config.d_ff,
    'rms_norm_eps': config.norm_epsilon,
    'max_position_embeddings': meta('context_length', 2048),
    'tie_word_embeddings': config.tied,
    **{key: None if value < 0 else value for key, value in ids.items()},
    **family.settings_of_gguf(meta),
  }


def _write_json(file: pathlib.Path, content: Mapping[str, Any]) -> None:
  file.write_text(json.dumps(content, indent=2) + '\n')
