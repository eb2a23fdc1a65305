"""Refuses soft prompts that another server's decoder does not fit."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any


def check_decoder(
  predictions: pathlib.Path, decoder: pathlib.Path, lora: pathlib.Path | None = None
) -> tuple[dict, dict]:
  """Returns what is told of a run and of a decoder, which belong together.

  Args:
    predictions: folder of `pipelines.batch_predict --soft_prompts`.
    decoder: folder of `persoma_tf.export_decoder`.
    lora: folder of `persoma_tf.export_decoder --form=peft` that changes the decoder.

  Raises:
    ValueError: the soft prompts are not for this decoder, or lack a common task prompt.
  """
  run = json.loads((predictions / 'run_info.json').read_text())
  model = run['model']
  tuned = any(path.startswith('decoder/') for path in model['parameters'])
  base = {None: 'export_decoder --decoder=...'}
  own = {model['model_id']: f'export_decoder --model_dir=... of {model["model_id"]}'}
  wrong = {
    'the run was made without --soft_prompts': not run['soft_prompts'],
    'its questions have prompts of their own': model['task_prompt'] is None,
    **_misfits(decoder, model, base if lora else own if tuned else base | own),
    **(_misfits(lora, model, own) if lora else {}),
  }
  if reasons := [reason for reason, is_so in wrong.items() if is_so]:
    raise ValueError(f'{predictions}: {"; ".join(reasons)}')
  return run, _about(decoder)


def _misfits(folder, model, allowed: Mapping[str | None, str]) -> dict[str, bool]:
  """Returns reason -> whether it is so.

  Args:
    folder: of weights.
    model: manifest of the model that made the soft prompts.
    allowed: id of the model whose training may be in the weights -> who writes them.
  """
  about = _about(folder)
  (path,) = folder.glob('*.safetensors')
  with path.open('rb') as file:
    weights = hashlib.file_digest(file, 'sha256').hexdigest()
  return {
    f'{folder} belongs to another decoder': (
      about['decoder_sha256'] != model['decoder_sha256']
    ),
    f'{folder} is of model {about["model_id"]}; expected that of '
    f'{" or ".join(allowed.values())}': about['model_id'] not in allowed,
    f'{path} has changed': about['weights_sha256'] != weights,
  }


def _about(folder: pathlib.Path) -> dict[str, Any]:
  return json.loads((folder / 'persoma.json').read_text())
