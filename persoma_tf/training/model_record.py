"""Reads the facts about a training from the model folder and the recipe's folders."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from persoma_tf.gin_settings import setting, settings

# Fields of encoder_info.json; the last one only of dataset files.
_VECTORS = ('encoder_sha256', 'template', 'nouns')
_TEMPLATES = 'text_templates'


class ModelRecord(NamedTuple):
  """Holds the facts about a trained adapter.

  Attributes:
    manifest: content of `adapter/manifest.json`.
    config: settings of `config.gin`, name -> value.
    metrics: lines of `metrics.jsonl`.
    data: content of the histories' `dataset_info.json`; {} if it does not exist.
    encoder: content of the embeddings' `encoder_info.json`; {} if it does not exist.
  """

  manifest: Mapping[str, Any]
  config: Mapping[str, Any]
  metrics: Sequence[Mapping[str, Any]]
  data: Mapping[str, Any]
  encoder: Mapping[str, Any]


def read(model_dir: str, histories_dir: str = '') -> ModelRecord:
  """Returns the record of a model folder.

  Args:
    model_dir: model folder, with `config.gin` and `adapter/manifest.json`.
    histories_dir: folder of the histories if they were moved since the training; read
      only if the model was trained on these histories.
  """
  folder = pathlib.Path(model_dir)
  recipe, metrics = folder / 'config.gin', folder / 'metrics.jsonl'
  config = settings(recipe.read_text() if recipe.exists() else '')
  manifest = _read_json(folder / 'adapter', 'manifest.json')
  places = [_data_folder(config, 'histories')]
  if wanted := manifest.get('histories'):
    known = (*places, histories_dir)
    places = [path for path in known if folder_fingerprint(path) == wanted]
  data = _data_info(places[0]) if places else {}
  lines = metrics.read_text().splitlines() if metrics.exists() else []
  lines = [json.loads(line) for line in lines]
  return ModelRecord(manifest, config, lines, data, _encoder_info(config))


def histories_fingerprint(config: Mapping[str, Any]) -> str | None:
  """Returns the fingerprint of the recipe's histories; None if they do not exist.

  Args:
    config: settings that `settings` returned.
  """
  return folder_fingerprint(_data_folder(config, 'histories'))


def trained_on(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the facts that other data must share with the training data of a model.

  Args:
    config: settings that `settings` returned.

  Returns:
    `vectors`: encoder, template and nouns of the interactions' vectors; `genres`: names
    of the genres. A key is missing if the recipe's folder no longer exists.
  """
  data = _data_info(_data_folder(config, 'histories'))
  encoder = _encoder_info(config)
  facts = {}
  if encoder:
    facts['vectors'] = {name: encoder.get(name) for name in _VECTORS}
    if _TEMPLATES in encoder:
      facts['vectors'][_TEMPLATES] = encoder[_TEMPLATES]
  if data:
    facts['genres'] = data['genres']
  return facts


def reads_text(manifest: Mapping[str, Any]) -> bool:
  """Tells from a manifest whether a model reads histories as text, not as vectors."""
  if 'history' in manifest:
    return manifest['history'] == 'text'
  # Older manifests do not say it. They have no prompt if the model reads text, but also
  # if it was trained on a mixture; only adapters that read vectors standardize them.
  standardizes = 'adapter/standardize/mean' in manifest.get('parameters', {})
  return manifest.get('task_prompt') is None and not standardizes


def folder_fingerprint(folder: str | pathlib.Path) -> str | None:
  """Returns what COMPLETED of a folder says that the folder was made from."""
  return _read_json(folder, 'COMPLETED').get('fingerprint')


def _data_folder(config, kind):
  """Returns the folder that a recipe reads: of the setting, else of the macro."""
  named = setting(config, f'data_folders.{kind}_dir')
  return named or config.get(f'{kind.upper()}_DIR', '')


def _data_info(histories_dir):
  return _read_json(histories_dir, 'dataset_info.json')


def _encoder_info(config):
  return _read_json(_data_folder(config, 'embeddings'), 'encoder_info.json')


def _read_json(folder, name):
  """Returns the content of a JSON file; {} if the file or folder does not exist."""
  path = pathlib.Path(folder or '', name)
  return json.loads(path.read_text()) if folder and path.is_file() else {}
