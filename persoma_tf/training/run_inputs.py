"""Records the inputs of a run when it starts, so that it resumes only with the same.

`inputs.json` in the model folder has a fingerprint of every input: the files of the
decoder and of the vocabulary, the histories and the embeddings. What a folder was made
from counts, not when: a folder that was made again from the same data is the same
input. So is one that a later job has changed and left its fingerprint in COMPLETED, as
a job that deletes a user on request does.
"""

import functools
import hashlib
import json
import logging
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import gin

from persoma_tf import decoders
from persoma_tf.gin_settings import setting, settings
from persoma_tf.parameters import checkpoints
from persoma_tf.training import model_record

logger = logging.getLogger(__name__)
FILE = 'inputs.json'
# What is read of a Hugging Face folder.
_READ = ('.json', '.safetensors', '.model')


class _Input(NamedTuple):
  """Describes an input.

  Attributes:
    place: path or name of the input.
    fingerprint: text that differs if the input differs.
  """

  place: str
  fingerprint: str | None


def inputs_of_recipe() -> dict[str, _Input]:
  """Returns the inputs of the recipe that gin has read, by name.

  Must be called after `TrainingRun` and a batch: gin's configuration is complete then.
  """
  config = settings(gin.operative_config_str())
  value = functools.partial(setting, config)
  decoder, vocabulary = value('build.decoder'), value('task_vocabulary.decoder')
  histories, embeddings = (
    pathlib.Path(value(f'data_folders.{name}_dir') or '')
    for name in ('histories', 'embeddings')
  )
  names = 'embeddings.parquet', 'ratings.parquet', 'event_texts.parquet'
  tables = [embeddings / name for name in names]
  items = histories / 'items.parquet'
  known = model_record.folder_fingerprint
  found = {
    'decoder': _Input(decoder, _checksum(_model_files(decoder))),
    'vocabulary': _Input(vocabulary, _checksum(_model_files(vocabulary))),
    'histories': _Input(f'{histories}', known(histories)),
    'items': _Input(f'{items}', _checksum([items])),
    'embeddings': _Input(f'{embeddings}', known(embeddings)),
    'vectors': _Input(f'{tables[0]}', _checksum(tables)),
  }
  return {name: x for name, x in found.items() if x.fingerprint}


def check_inputs(folder: pathlib.Path, inputs: Mapping[str, _Input]) -> None:
  """Checks that a run has the inputs that it began with.

  Raises:
    ValueError: an input differs; the message names it.
  """
  file = folder / FILE
  if not file.exists():
    logger.warning(
      '%s did not record its inputs: are they those of its start? An older version '
      'began it, with another order of the users: to repeat it, start again',
      folder,
    )
    return
  then = json.loads(file.read_text())
  changed = [
    f'{name} {now.place} was {_short(then[name])} and is {_short(now.fingerprint)}'
    for name, now in inputs.items()
    if then.get(name, now.fingerprint) != now.fingerprint
  ]
  if changed:
    raise ValueError(
      f'{file}: not the inputs that the run began with: {"; ".join(changed)}. Give it '
      'those inputs again, or start again with --overwrite or in another --model_dir'
    )


def write_inputs(folder: pathlib.Path, inputs: Mapping[str, _Input]) -> None:
  """Writes the fingerprints of the inputs of a run that starts or resumes."""
  folder.mkdir(parents=True, exist_ok=True)
  content = {name: x.fingerprint for name, x in inputs.items()}
  text = json.dumps(content, indent=2) + '\n'
  checkpoints.replace_file(folder / FILE, text.encode())


def _model_files(name: str | None) -> Iterator[pathlib.Path]:
  """Yields the files of a decoder or of a vocabulary."""
  folder = pathlib.Path(name or '')
  if not name:
    return
  if not folder.is_dir():
    yield folder if name.endswith('.model') else pathlib.Path(decoders.gguf_file(name))
  elif (folder / 'config.json').exists():
    yield from (x for x in folder.iterdir() if x.suffix in _READ)
  else:
    yield from folder.rglob('*')


def _checksum(paths: Iterable[pathlib.Path]) -> str | None:
  """Returns the sha256 of files, or of their names and sums; None without files."""
  sums = []
  for path in sorted(path for path in paths if path.is_file()):
    facts = path.stat()
    sums.append((path.name, _sha256(str(path), facts.st_size, facts.st_mtime_ns)))
  if len(sums) > 1:
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()
  return sums[0][1] if sums else None


@functools.cache
def _sha256(path: str, size: int, changed: int) -> str:
  """Reads a file once, until its size or time of change differ."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _short(fingerprint: str) -> str:
  return f'{fingerprint[:12]}…' if len(fingerprint) > 12 else fingerprint
