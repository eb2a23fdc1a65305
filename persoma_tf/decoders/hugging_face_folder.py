"""Folders as Hugging Face stores models: config.json and safetensors."""

import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from safetensors import safe_open


class HuggingFaceFolder:
  """A model's settings, checked, and its tensors.

  Attributes:
    path: of the folder.
    file: its `config.json`.
    config: what that says.
  """

  def __init__(self, folder: str):
    """Opens a folder.

    Args:
      folder: with `config.json` and `model.safetensors`, or the parts of one with
        `model.safetensors.index.json`.

    Raises:
      ValueError: there is no `config.json`.
    """
    self.path = pathlib.Path(folder)
    self.file = self.path / 'config.json'
    if not self.file.exists():
      raise ValueError(
        f'{folder}: no config.json in it; expected a Hugging Face folder'
      )
    self.config = json.loads(self.file.read_text())

  def expect(self, settings: Mapping[str, Sequence[Any]]) -> None:
    """Checks settings that change the computation.

    Args:
      settings: field of the config -> the values that are computed here.

    Raises:
      ValueError: a field has another value.
    """
    for field, values in settings.items():
      if self.config.get(field) not in values:
        known = [repr(value) for value in values if value is not None] or ['None']
        only = ', the only one that is computed here' if len(known) == 1 else ''
        raise ValueError(
          f'{self.file}: {field}={self.config.get(field)!r}; expected '
          f'{" or ".join(known)}{only}'
        )

  @functools.cached_property
  def files(self) -> Mapping[str, pathlib.Path]:
    """Tensor name -> the file that holds it."""
    index = self.path / 'model.safetensors.index.json'
    if index.exists():
      names = json.loads(index.read_text())['weight_map']
      return {name: self.path / file for name, file in names.items()}
    file = self.path / 'model.safetensors'
    if not file.exists():
      raise ValueError(
        f'{self.path}: no model.safetensors in it, nor an index of parts'
      )
    with safe_open(file, framework='flax') as opened:
      return dict.fromkeys(opened.keys(), file)

  def read(self, name: str) -> np.ndarray:
    """One tensor as float32.

    Raises:
      ValueError: there is none of this name.
    """
    if name not in self.files:
      raise ValueError(f'{self.path}: no tensor {name!r} in its safetensors files')
    with safe_open(self.files[name], framework='flax') as file:  # numpy lacks bfloat16
      return np.asarray(file.get_tensor(name), np.float32)
