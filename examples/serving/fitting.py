"""Refuses soft prompts that another server's decoder does not fit."""

import hashlib
import json
import pathlib


def check_decoder(
  predictions: pathlib.Path, decoder: pathlib.Path
) -> tuple[dict, dict]:
  """Returns what is told of a run and of a decoder, which belong together.

  Args:
    predictions: folder of `pipelines.batch_predict --soft_prompts`.
    decoder: folder of `persoma_tf.export_decoder`.

  Raises:
    ValueError: the soft prompts are not for this decoder, or lack a common task prompt.
  """
  run = json.loads((predictions / 'run_info.json').read_text())
  about = json.loads((decoder / 'persoma.json').read_text())
  model, name = run['model'], run['model']['model_id']
  tuned = any(path.startswith('decoder/') for path in model['parameters'])
  with (decoder / 'model.safetensors').open('rb') as file:
    weights = hashlib.file_digest(file, 'sha256').hexdigest()
  wrong = {
    'the run was made without --soft_prompts': not run['soft_prompts'],
    'its questions have prompts of their own': model['task_prompt'] is None,
    f'{decoder} is another decoder': about['decoder_sha256'] != model['decoder_sha256'],
    f'{decoder} is of model {about["model_id"]}; expected that of export_decoder '
    f'--model_dir=... for {name}': (
      about['model_id'] not in ([name] if tuned else [name, None])
    ),
    f'{decoder}/model.safetensors has changed': about['weights_sha256'] != weights,
  }
  if reasons := [reason for reason, is_so in wrong.items() if is_so]:
    raise ValueError(f'{predictions}: {"; ".join(reasons)}')
  return run, about
