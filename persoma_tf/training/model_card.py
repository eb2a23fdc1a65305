"""Writes the model card of a trained adapter, in the format of Hugging Face.

All facts come from files: the model folder, the info files of the recipe's histories
and embeddings, and the scores of a report, if given. The same files give the same card,
which has no dates and no paths.
"""

import json
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from persoma_tf import prompt_parts
from persoma_tf.asset_table import ASSETS
from persoma_tf.gin_settings import scope_of
from persoma_tf.training import model_record
from persoma_tf.training.card_scores import scores_section
from persoma_tf.training.markdown import markdown_code, markdown_table
from persoma_tf.training.model_record import ModelRecord

FILE = 'README.md'  # in the folder of the adapter
_NOT_STATED = 'not stated'
_HUB = 'https://huggingface.co/'
_OF_A_STAGE = ('steps', 'batch_size', 'learning_rate', 'schedule', 'trainable')
_LABELS = {
  'profile': (
    'Labels are a function of the whole history. The model can only approach this '
    'rule; its score does not tell how well it would predict the future.'
  ),
  'future': 'Labels come from ratings after a cutoff time, histories from before it.',
}


def card_of_folder(
  model_dir: str, histories_dir: str = '', report: Mapping[str, Any] | None = None
) -> str:
  """Returns the card of a model folder, as Markdown.

  Args:
    model_dir: model folder, with `config.gin` and `adapter/manifest.json`.
    histories_dir: folder of the histories if they were moved since the training; used
      only if the model was trained on these histories.
    report: content of `metrics.json` of `pipelines.evaluate`, for the scores.
  """
  return render_card(model_record.read(model_dir, histories_dir), report)


def render_card(record: ModelRecord, report: Mapping[str, Any] | None = None) -> str:
  """Returns the card of a record as Markdown, with the scores of a report, if given."""
  parts = [
    _front_matter(record),
    f'# {record.manifest["model_id"]}\n\nA soft-prompt adapter of PERSOMA. It turns '
    "the vectors of a user's interactions into a few soft tokens, which a language "
    'model reads together with the task prompt.',
    _task(record),
    _data(record),
    _models(record),
    _training(record),
    _validation(record),
    scores_section(report),
    _limits(record),
  ]
  return '\n\n'.join(parts) + '\n'


def _front_matter(record):
  """Returns the YAML header; the licence of the trained parameters is unknown."""
  tags = ['personalization', 'soft-prompt', 'prompt-tuning']
  tags += ['lora'] if record.config.get('train.tuning') == 'lora' else []
  asset = ASSETS.get(record.manifest.get('decoder'))
  known = {'license': 'unknown', 'library_name': 'persoma'}
  if asset and asset.elsewhere.startswith(_HUB):
    known['base_model'] = asset.elsewhere.removeprefix(_HUB)
    known['base_model_relation'] = 'adapter'
  return f'---\n{yaml.safe_dump({**known, "tags": tags}, sort_keys=False)}---'


def _task(record):
  manifest = record.manifest
  if 'task_prompt' not in manifest:
    shown = f'Task prompt: {_NOT_STATED}.'
  elif model_record.reads_text(manifest):
    shown = "Each user's history is in the prompt as text."
  else:
    shown = f'Task prompt, {_place(record)}: {_prompts(record)}'
  task = record.config.get('train.task', _NOT_STATED)
  about = f'the SeqIO task {markdown_code(task)}'
  if asked := _several(record):
    about = f'{len(asked)} questions'
  return f'## Task\n\nTrained on {about}. {shown}'


def _place(record):
  """Returns where the task prompt stands; a list of parts is told as it is."""
  parts = record.manifest.get('prompt_parts')  # older manifests have none
  if not parts or tuple(parts) in prompt_parts.ORDERS.values():
    first = record.config.get('build.prompt_order') == 'prompt_first'
    return f'{"before" if first else "after"} the soft tokens'
  shown = ', '.join(
    x if x in prompt_parts.NAMES else markdown_code(json.dumps(x)) for x in parts
  )
  return f'as PROMPT in {shown}'


def _prompts(record):
  """Returns the prompts as Markdown; a mixture has one for each task."""
  manifest = record.manifest
  if words := _words_of_examples(record):  # each example has its own prompt
    return f'{markdown_code(json.dumps(words["prompt"]))}, about an example.'
  if asked := _several(record):
    each = [(markdown_code(json.dumps(asked[x]['prompt'])), x) for x in asked]
    return ', '.join(f'{prompt} ({markdown_code(name)})' for prompt, name in each)
  if manifest['task_prompt'] is not None:
    return markdown_code(json.dumps(manifest['task_prompt']))
  show = lambda x: 'one for each user' if x is None else markdown_code(json.dumps(x))
  several = manifest.get('task_prompts', {}).items()
  each = [f'{show(prompt)} ({markdown_code(task)})' for task, prompt in several]
  return ', '.join(each) or _NOT_STATED


def _words_of_examples(record):
  """Returns the words of a question about examples; {} of lists, which ask of users."""
  words = record.config.get('own_question.words', {})
  return words if words.get('kind', 'lists') != 'lists' else {}


def _several(record):
  """Returns the words of each question of a model that answers several; else {}."""
  words = record.config.get('own_questions.words', {})
  return {name: words[name] for name in record.config.get('own_questions.names', ())}


def _data(record):
  data = record.data
  if not data:
    return '## Data\n\nNot stated: the info file of the histories was not available.'
  counts = data.get('counts', {})
  listed = lambda of: ', '.join(f'{split} {number:,}' for split, number in of.items())
  about = {
    'licence': _license_of(data),
    'users': listed(counts.get('users', {})),
    **{f'examples of {x}': listed(y) for x, y in counts.get('examples', {}).items()},
    **{
      name.replace('_', ' '): data[name]
      for name in ('sampler', 'max_history', 'min_history', 'label_mode', 'seed')
      if name in data
    },
  }
  if rule := data.get('label_rule'):  # questions with answers of their own have none
    about['label rule'] = ', '.join(f'{name} {value}' for name, value in rule.items())
  files = [
    (kind, file['name'], f'{file["bytes"]:,}', markdown_code(file['checksum']))
    for kind, found in data.get('inputs', {}).items()
    if isinstance(found, list)
    for file in found
  ]
  return '\n\n'.join(
    [
      '## Data',
      markdown_table(('', ''), about.items()),
      markdown_table(('input', 'file', 'bytes', 'checksum'), files),
    ]
  )


def _license_of(data):
  """Returns the licence that the histories job was given, or those of its input files.

  The checksums identify files of the pinned data sets.
  """
  if data.get('data_license'):
    return data['data_license']
  known = {
    f'sha256:{sha256}': asset.license
    for asset in ASSETS.values()
    for _, sha256 in asset.files.values()
  }
  inputs = data.get('inputs', {}).values()
  files = [file for found in inputs if isinstance(found, list) for file in found]
  found = {known.get(file['checksum'], _NOT_STATED) for file in files}
  return '; '.join(sorted(found)) or _NOT_STATED


def _models(record):
  decoder = record.manifest.get('decoder', _NOT_STATED)
  encoder = record.encoder.get('encoder', _NOT_STATED)
  sums = (record.manifest.get('decoder_sha256'), record.encoder.get('encoder_sha256'))
  rows = [
    (
      role,
      pathlib.PurePath(name).name,  # the name of a user's own model is a path
      ASSETS[name].license if name in ASSETS else _NOT_STATED,
      markdown_code(f'sha256:{sha256}') if sha256 else _NOT_STATED,
    )
    for role, name, sha256 in zip(
      ('decoder', 'history encoder'), (decoder, encoder), sums, strict=True
    )
  ]
  note = (
    "The decoder's checksum is over its parameters. The adapter does not load with a "
    'decoder that has another checksum.'
  )
  return '\n\n'.join(
    ['## Models', markdown_table(('', 'name', 'licence', 'checksum'), rows), note]
  )


def _training(record):
  shapes = record.manifest.get('parameters', {})
  count = sum(math.prod(shape) for shape in shapes.values())
  parts = sorted({path.split('/')[0] for path in shapes})
  config = record.config
  plain = lambda x: ', '.join(map(markdown_code, x)) if isinstance(x, tuple) else x
  stages = config.get('train.stages', ())
  scopes = [scope_of(stage) for stage in stages if stage.endswith('/Stage()')]
  rows = [
    (scope, *(plain(config.get(f'{scope}/Stage.{x}', '')) for x in _OF_A_STAGE))
    for scope in scopes
  ]
  run = {
    name: config[f'train.{name}']
    for name in ('tuning', 'dtype', 'seed')
    if f'train.{name}' in config
  }
  of_adapter = {
    name: config[f'build.{name}']
    for name in ('resampler', 'readout', 'num_task_tokens')
    if f'build.{name}' in config
  }
  where = f', under {" and ".join(map(markdown_code, parts))}' if parts else ''
  text = [
    f'## Training\n\n{count:,} trained parameters in {len(shapes)} arrays{where}; '
    f'{record.manifest.get("step", "?")} steps.',
    markdown_table(('', ''), {**run, **of_adapter}.items()),
    markdown_table(('stage', *(x.replace('_', ' ') for x in _OF_A_STAGE)), rows),
    'The whole recipe is `config.gin` in the model folder.',
  ]
  return '\n\n'.join(part for part in text if part)


def _validation(record):
  best = {}
  for line in record.metrics:
    for key, loss in line.items():
      stage = re.fullmatch(r'validation/(.*)/loss', key)
      if stage and loss <= best.get(stage[1], (math.inf,))[0]:
        best[stage[1]] = (loss, line)
  rows = [
    (stage, line['step'], key.split('/', 2)[2], f'{line[key]:.4f}')
    for stage, (_, line) in best.items()
    for key in sorted(line)
    if key.startswith(f'validation/{stage}/')
  ]
  if not rows:
    return '## Validation\n\nNot measured: `train.validation_examples` was 0.'
  examples = record.config.get('train.validation_examples', '?')
  return (
    f"## Validation\n\nEach stage's best checkpoint, on {examples} examples of the "
    f'validation split.\n\n{markdown_table(("stage", "step", "metric", "value"), rows)}'
  )


def _limits(record):
  about_examples, tasks = _words_of_examples(record), 'one task'
  if asked := _several(record):
    about_examples = all(x.get('kind', 'lists') != 'lists' for x in asked.values())
    tasks = 'these questions'
  lines = [
    'The adapter works only with this decoder and these item vectors.',
    f'It was trained for {tasks} and not tested with other prompts.',
    _LABELS.get(record.data.get('label_mode'), '') if not about_examples else '',
    'The trained parameters have no licence yet. The publisher chooses it, within the '
    'terms of the data and the decoder.',
    'Differences between groups of people were not measured.',
  ]
  return '## Limits\n\n' + '\n'.join(f'- {line}' for line in lines if line)
