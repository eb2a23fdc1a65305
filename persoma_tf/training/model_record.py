"""What a model folder, and the folders that its recipe names, say of a training."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from persoma_tf.gin_settings import settings

_VECTORS = ('encoder_sha256', 'template', 'nouns')  # of encoder_info.json


class ModelRecord(NamedTuple):
  """Holds what is known of a trained adapter.

  Attributes:
    manifest: of the adapter.
    config: settings of `config.gin`, name -> value.
    metrics: lines of `metrics.jsonl`.
    data: `dataset_info.json` of the histories; {} where it is not there.
    encoder: `encoder_info.json` of the embeddings; {} where it is not there.
  """

  manifest: Mapping[str, Any]
  config: Mapping[str, Any]
  metrics: Sequence[Mapping[str, Any]]
  data: Mapping[str, Any]
  encoder: Mapping[str, Any]


def read(model_dir: str, histories_dir: str = '') -> ModelRecord:
  """Returns the record of a model folder.

  Args:
    model_dir: with `config.gin` and `adapter/manifest.json`.
    histories_dir: read if the model was trained on these and they are no longer where
      its recipe has them.
  """
  folder = pathlib.Path(model_dir)
  recipe, metrics = folder / 'config.gin', folder / 'metrics.jsonl'
  config = settings(recipe.read_text() if recipe.exists() else '')
  manifest = _read_json(folder / 'adapter', 'manifest.json')
  places = [config.get('HISTORIES_DIR', '')]
  if wanted := manifest.get('histories'):
    places = [x for x in (*places, histories_dir) if _fingerprint(x) == wanted]
  data = _data_info(places[0]) if places else {}
  lines = metrics.read_text().splitlines() if metrics.exists() else []
  lines = [json.loads(line) for line in lines]
  return ModelRecord(manifest, config, lines, data, _encoder_info(config))


def histories_fingerprint(config: Mapping[str, Any]) -> str | None:
  """Returns that of the histories that a recipe names; None if they are not there.

  Args:
    config: as `settings` gives it.
  """
  return _fingerprint(config.get('HISTORIES_DIR', ''))


def trained_on(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what data must share with that of a recipe to be answered by its model.

  Args:
    config: as `settings` gives it.

  Returns:
    `vectors`: how those of the interactions are made; `genres`: names. Without what
    the recipe's folders no longer have.
  """
  encoder, data = _encoder_info(config), _data_info(config.get('HISTORIES_DIR', ''))
  found = {}
  if encoder:
    found['vectors'] = {name: encoder.get(name) for name in _VECTORS}
  if data:
    found['genres'] = data['genres']
  return found


def _fingerprint(histories_dir):
  return _read_json(histories_dir, 'COMPLETED').get('fingerprint')


def _data_info(histories_dir):
  return _read_json(histories_dir, 'dataset_info.json')


def _encoder_info(config):
  return _read_json(config.get('EMBEDDINGS_DIR'), 'encoder_info.json')


def _read_json(folder, name):
  """Returns what a file says; {} without a file or a folder."""
  path = pathlib.Path(folder or '', name)
  return json.loads(path.read_text()) if folder and path.is_file() else {}
