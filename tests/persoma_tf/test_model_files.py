"""Files of models that are not what they should be, as people have them."""

import json
import pathlib
import shutil

import pytest

from persoma_tf import decoders, model_files
from tasks import vocabularies
from tests import tiny as tiny_parts

TINY = pathlib.Path(__file__).parent / 'decoders' / 'tiny_llama' / 'untied'
POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 4\n'
PAGE = b'\n<!DOCTYPE html>\n<html><body>Sign in</body></html>'
WRONG = [  # content in the place of a file, and what the message says of it
  (POINTER, 'it is a Git LFS pointer, not the file: run git lfs pull in its folder'),
  (PAGE, 'it is an HTML page, not the file: copy or download it again'),
  (b'', 'it is empty: copy or download it again'),
  (b'PK\x03\x04 and more', 'it is a zip archive, such as PyTorch writes'),
]


@pytest.fixture(scope='module')
def good(tmp_path_factory):
  """A GGUF file that can be read."""
  path = tmp_path_factory.mktemp('gguf') / 'x.gguf'
  return tiny_parts.write_decoder(path, vocab_size=13).read_bytes()


def test_a_file_is_read_once_for_a_decoder_and_its_vocabulary(good, tmp_path):
  path = tmp_path / 'x.gguf'
  path.write_bytes(good)
  first = model_files.open_gguf(str(path))
  assert model_files.open_gguf(str(path)) is first
  assert model_files.open_gguf(str(path)) is not first, 'nobody keeps it for long'
  path.write_bytes(good + b'more')
  again = model_files.open_gguf(str(path))
  assert len(again.data) == len(good) + 4


@pytest.mark.parametrize(('content', 'message'), WRONG)
def test_another_file_in_the_place_of_a_gguf_file(tmp_path, content, message):
  """The vocabulary is read from it before the weights."""
  path = tmp_path / 'x.gguf'
  path.write_bytes(content)
  message = f'^{path} cannot be read as GGUF: {message}'
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(path))
  with pytest.raises(ValueError, match=message):
    _ = vocabularies.load_vocabulary(str(path)).eos_id


@pytest.mark.parametrize('share', [0.0001, 0.01, 0.4, 0.99, 1 - 1e-9])
def test_a_gguf_file_that_was_cut(tmp_path, good, share):
  path = tmp_path / 'x.gguf'
  path.write_bytes(good[: max(5, int(len(good) * share))])
  with pytest.raises(
    ValueError, match=r'x\.gguf cannot be read as GGUF: it is cut off'
  ):
    decoders.load_decoder(str(path))


def test_no_such_gguf_file(tmp_path):
  message = r'x\.gguf cannot be read as GGUF: No such file or directory: copy or'
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(tmp_path / 'x.gguf'))


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors.index.json'])
@pytest.mark.parametrize(
  ('content', 'message'),
  [
    *((content, f'cannot be read as JSON: {message}') for content, message in WRONG),
    (
      b'{"model_type": "lla',
      r'cannot be read as JSON: it is cut off or damaged \(Unte',
    ),
    (b'[1, 2]', r'holds \[1, 2\]; expected a JSON object'),
    (b'\xff\xfe{}', 'cannot be read as JSON: it is cut off or damaged'),
  ],
)
def test_another_file_in_the_place_of_json(tmp_path, name, content, message):
  folder = shutil.copytree(TINY, tmp_path / 'model')
  (folder / name).write_bytes(content)
  with pytest.raises(ValueError, match=f'^{folder / name} {message}'):
    decoders.load_decoder(str(folder))


def _shard(folder):
  return min(folder.glob('*.safetensors'))


@pytest.mark.parametrize(
  ('content', 'message'),
  [*WRONG, (None, r'it is cut off or damaged \('), (b'GGUF and more', 'it is a GGUF')],
)
def test_another_file_in_the_place_of_safetensors(tmp_path, content, message):
  folder = shutil.copytree(TINY, tmp_path / 'model')
  path = _shard(folder)
  path.write_bytes(path.read_bytes()[:-10] if content is None else content)
  with pytest.raises(
    ValueError, match=f'^{path} cannot be read as safetensors: {message}'
  ):
    decoders.load_decoder(str(folder))


def test_a_shard_that_is_missing(tmp_path):
  folder = shutil.copytree(TINY, tmp_path / 'model')
  path = _shard(folder)
  path.unlink()
  message = f'{folder}: no {path.name}, which model.safetensors.index.json lists; down'
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(folder))
  (folder / 'model.safetensors.index.json').write_text('{}')
  with pytest.raises(
    ValueError, match=r'index\.json cannot be read as an index of safet'
  ):
    decoders.load_decoder(str(folder))


@pytest.mark.parametrize(
  ('content', 'message'),
  [*WRONG[:3], (b'model_checkpoint_path: "model.ckpt-1"', 'it is cut off or damaged')],
)
def test_another_file_in_the_place_of_a_checkpoint(tmp_path, content, message):
  """The last one is the index of TensorFlow's checkpoints."""
  (tmp_path / 'checkpoint').write_bytes(content)
  path = tmp_path / 'checkpoint'
  message = f'^{path} cannot be read as a checkpoint of T5X: {message}'
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(tmp_path))


def test_a_folder_is_asked_for_its_model_before_its_tokenizer(tmp_path):
  """A folder as the macro DECODER is the vocabulary, too, which is read first."""
  for kind in ('qwen2_moe', 'mixtral'):
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': kind}))
    with pytest.raises(ValueError, match=f"model_type='{kind}'; expected 'llama' or"):
      vocabularies.load_vocabulary(str(tmp_path))
  (tmp_path / 'config.json').write_text(json.dumps({'model_type': 'llama'}))
  with pytest.raises(ValueError, match='none of tokenizer'):
    vocabularies.load_vocabulary(str(tmp_path))
