"""Reads folders in which Hugging Face stores models: config.json and safetensors."""

import functools
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from safetensors import safe_open

from persoma_tf import model_files

# Fields of config.json that say that the weights are quantized; MLX writes the second.
_QUANTIZED = ('quantization_config', 'quantization', 'compression_config')
_FLOATS = ('F64', 'F32', 'F16', 'BF16')  # names of safetensors


class _Settings(dict):
  """Holds a config.json; a field that is read must be there."""

  def __init__(self, file: pathlib.Path, content: Mapping[str, Any]):
    super().__init__(content)
    self._file = file

  def add_defaults(self, fields: Mapping[str, Any]) -> None:
    """Sets fields that are missing."""
    self.update({name: x for name, x in fields.items() if self.get(name) is None})

  def __getitem__(self, field: str) -> Any:
    value = self.get(field)
    if value is None:
      raise ValueError(
        f'{self._file}: no field {field}; expected the config.json that was published '
        'with the weights'
      )
    return value


class HuggingFaceFolder:
  """Reads the settings and tensors of a model.

  Attributes:
    path: path of the folder.
    file: path of `config.json`.
    config: content of `config.json`; of a model with images, the part of the text.
    is_part: whether the model has other parts, such as one for images.
  """

  def __init__(self, folder: str):
    """Reads `config.json`.

    Args:
      folder: path of a folder with `config.json`, and with either `model.safetensors`
        or `model.safetensors.index.json` and the files that it lists.

    Raises:
      ValueError: `config.json` is missing or no JSON object.
    """
    self.path = pathlib.Path(folder)
    self.file = self.path / 'config.json'
    if not self.file.exists():
      raise ValueError(
        f'{folder}: no config.json in this folder; expected a Hugging Face folder'
      )
    content = model_files.read_object(self.file)
    text = content.get('text_config')
    self.is_part = isinstance(text, dict)
    self.config = _Settings(self.file, {**content, **text} if self.is_part else content)

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

  def expect_unquantized(self) -> None:
    """Checks that the weights are stored as they are computed with.

    Raises:
      ValueError: they are quantized.
    """
    for field in _QUANTIZED:
      if self.config.get(field) is not None:
        raise ValueError(
          f'{self.file}: {field}={self.config[field]!r:.60}…: quantized weights are '
          'read only from GGUF files; give the folder of the original model'
        )

  @functools.cached_property
  def files(self) -> Mapping[str, pathlib.Path]:
    """Maps the name of each tensor to the file that holds it."""
    index = self.path / 'model.safetensors.index.json'
    if index.exists():
      content = model_files.read_object(index)
      with model_files.reading(index, 'an index of safetensors files'):
        names = dict(content['weight_map'])
      for file in sorted(set(names.values())):
        if not (self.path / file).exists():
          raise ValueError(
            f'{self.path}: no {file}, which {index.name} lists; download the whole '
            'folder again'
          )
      return {name: self.path / file for name, file in names.items()}
    file = self.path / 'model.safetensors'
    if not file.exists():
      raise ValueError(
        f'{self.path}: no model.safetensors and no model.safetensors.index.json in '
        'this folder'
      )
    with model_files.reading(file, 'safetensors'), safe_open(file, 'flax') as opened:
      return dict.fromkeys(opened.keys(), file)

  def text_names(self) -> tuple[str, str]:
    """Returns the beginning of the names of the text's tensors, and its output matrix.

    Raises:
      ValueError: a model with other parts has no embeddings of tokens, or several.
    """
    if not self.is_part:
      return 'model.', 'lm_head.weight'
    last = 'embed_tokens.weight'
    bodies = [x.removesuffix(last) for x in self.files if x.endswith(f'.{last}')]
    if len(bodies) != 1:
      raise ValueError(
        f'{self.path}: {len(bodies)} tensors end in {last}; expected one, that of the '
        'language model'
      )
    heads = [name for name in self.files if name.endswith('lm_head.weight')]
    return bodies[0], heads[0] if heads else 'lm_head.weight'

  def other_parts(self) -> list[str]:
    """Lists the tensors that do not belong to the text of a model with other parts."""
    if not self.is_part:
      return []
    body, output = self.text_names()
    return [x for x in self.files if not x.startswith(body) and x != output]

  def expect_tensors(self, names: Collection[str], ignored: Collection[str]) -> None:
    """Checks that the folder has no tensor that the model does not read.

    An unread tensor, such as a bias, would change the answers of the model.

    Args:
      names: tensors that are read.
      ignored: tensors that may be there, too.

    Raises:
      ValueError: there are other tensors.
    """
    if unknown := sorted(self.files.keys() - {*names, *ignored}):
      raise ValueError(
        f'{self.path}: unknown tensors {unknown[:5]}; expected only those of a '
        f'{self.config["model_type"]} model with the settings in its config.json'
      )

  def expect_copies(self, copies: Collection[str], original: str) -> None:
    """Checks that those of the tensors `copies` that are there equal `original`.

    Raises:
      ValueError: one has other values.
    """
    for name in sorted(self.files.keys() & set(copies)):
      if not np.array_equal(self.read(name), self.read(original)):
        raise ValueError(
          f'{self.path}: {name} differs from {original}; expected the same values, as '
          'this model has one matrix for both by its config.json (tie_word_embeddings)'
        )

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor: a matrix in its stored type of two bytes, all else as float32.

    Args:
      name: name of the tensor.

    Raises:
      ValueError: the folder has no tensor of this name, or not in a float type.
    """
    if name not in self.files:
      raise ValueError(f'{self.path}: no tensor {name!r} in its safetensors files')
    file, array = self.files[name], None
    # numpy lacks bfloat16, flax has it.
    with model_files.reading(file, 'safetensors'), safe_open(file, 'flax') as opened:
      kind = opened.get_slice(name).get_dtype()
      if kind in _FLOATS:
        array = np.asarray(opened.get_tensor(name))
    if array is None:
      raise ValueError(
        f'{file}: tensor {name!r} has dtype {kind}; expected one of {_FLOATS}: '
        'quantized weights are read only from GGUF files'
      )
    narrow = array.ndim > 1 and array.itemsize == 2
    return array if narrow else np.asarray(array, np.float32)
