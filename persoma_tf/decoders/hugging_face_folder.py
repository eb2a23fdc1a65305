"""Reads folders in which Hugging Face stores models: config.json and safetensors."""

import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from safetensors import safe_open


class HuggingFaceFolder:
  """Reads the settings and tensors of a model.

  Attributes:
    path: path of the folder.
    file: path of `config.json`.
    config: content of `config.json`.
  """

  def __init__(self, folder: str):
    """Reads `config.json`.

    Args:
      folder: path of a folder with `config.json`, and with either `model.safetensors`
        or `model.safetensors.index.json` and the files that it lists.

    Raises:
      ValueError: `config.json` is missing.
    """
    self.path = pathlib.Path(folder)
    self.file = self.path / 'config.json'
    if not self.file.exists():
      raise ValueError(
        f'{folder}: no config.json in this folder; expected a Hugging Face folder'
      )
    self.config = json.loads(self.file.read_text())

  def expect(self, settings: Mapping[str, Sequence[Any]]) -> None:
    """Checks settings that change the computation.

    Args:
      settings: field of `config.json` -> supported values.

    Raises:
      ValueError: a field has another value.
    """
    for field, values in settings.items():
      if self.config.get(field) not in values:
        known = [repr(value) for value in values if value is not None] or ['None']
        only = '; other values are not supported' if len(known) == 1 else ''
        raise ValueError(
          f'{self.file}: {field}={self.config.get(field)!r}; expected '
          f'{" or ".join(known)}{only}'
        )

  @functools.cached_property
  def files(self) -> Mapping[str, pathlib.Path]:
    """Maps the name of each tensor to the file that holds it."""
    index = self.path / 'model.safetensors.index.json'
    if index.exists():
      names = json.loads(index.read_text())['weight_map']
      return {name: self.path / file for name, file in names.items()}
    file = self.path / 'model.safetensors'
    if not file.exists():
      raise ValueError(
        f'{self.path}: no model.safetensors and no model.safetensors.index.json in '
        'this folder'
      )
    with safe_open(file, framework='flax') as opened:
      return dict.fromkeys(opened.keys(), file)

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor as float32.

    Args:
      name: name of the tensor.

    Raises:
      ValueError: the folder has no tensor of this name.
    """
    if name not in self.files:
      raise ValueError(f'{self.path}: no tensor {name!r} in its safetensors files')
    with safe_open(self.files[name], framework='flax') as file:  # numpy lacks bfloat16
      return np.asarray(file.get_tensor(name), np.float32)
