"""Writes a decoder, or what a run has trained of it, for other engines.

    python -m persoma_tf.export_decoder --decoder=smollm2-135m-instruct \
      --output_dir=smollm2
    python -m persoma_tf.export_decoder --model_dir=runs/lora/model --output_dir=merged
    python -m persoma_tf.export_decoder --model_dir=runs/lora/model --form=peft \
      --output_dir=lora

The first command makes a Hugging Face folder of a decoder in any form: config.json,
model.safetensors and its tokenizer. The second does so with the decoder of a trained
model, with LoRA merged into the matrices. The third writes LoRA's matrices alone, as a
PEFT folder, which lies beside the folder of the first. `persoma.json` in each says what
it belongs to, for whoever shows it soft prompts (examples/serving).
"""

import argparse
import hashlib
import json
import logging
import pathlib
import shutil
import sys
import uuid
from collections.abc import Sequence

from persoma_tf import gin_settings, process
from persoma_tf.addresses import local_argument

logger = logging.getLogger('persoma_tf.export_decoder')
# Files beside config.json that say how texts are encoded and answers end.
_COPIED = (
  *('tokenizer.json', 'tokenizer.model', 'tokenizer_config.json', 'vocab.json'),
  *('merges.txt', 'special_tokens_map.json', 'added_tokens.json'),
  *('generation_config.json', 'chat_template.jinja'),
)


def main(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and writes the folder.

  Args:
    argv: arguments of the command line; by default `sys.argv[1:]`.

  Raises:
    FileExistsError: the output folder is not empty.
    ValueError: the decoder or the model cannot be read, or the decoder is T5.
  """
  process.prepare()
  flags = _parser().parse_args(sys.argv[1:] if argv is None else argv)
  folder = pathlib.Path(flags.output_dir)
  if folder.exists() and any(folder.iterdir()):
    raise FileExistsError(f'{folder} is not empty; name another --output_dir')
  half = folder.with_name(f'{folder.name}.tmp-{uuid.uuid4().hex}')
  half.mkdir(parents=True)
  try:
    _write(half, flags)
  except BaseException:
    shutil.rmtree(half)
    raise
  if folder.exists():
    folder.rmdir()
  half.rename(folder)  # whoever sees it sees all of it
  logger.info('wrote %s', folder)


def _write(folder, flags):
  # These import JAX, which errors in the flags need not wait for.
  from persoma_tf import decoders
  from persoma_tf.decoders import hugging_face_export, start_tokens
  from persoma_tf.decoders.causal_lm import CausalLm
  from persoma_tf.parameters import checkpoints, freezing, lora

  name = flags.decoder or _decoder_of(flags.model_dir)
  loaded = decoders.load_decoder(name)
  if not isinstance(loaded.module, CausalLm):
    raise ValueError(f'{name} is no decoder-only model, whose forms are written here')
  module, params = loaded.module, loaded.params
  sha256, model_id = checkpoints.fingerprint(params), None
  if flags.model_dir:
    adapter = f'{flags.model_dir}/adapter'
    trained = checkpoints.load_adapter(adapter, sha256)
    params = freezing.overlay({'decoder': params}, trained)['decoder']
    if flags.form == 'peft':
      _check_lora_alone(trained)
    manifest = checkpoints.adapter_manifest(adapter)
    module, model_id = start_tokens.as_trained(module, manifest), manifest['model_id']
    # A GGUF file's tokenizer is written as the adapter knows it.
    copied, start = pathlib.Path(name).is_dir(), loaded.start_token
    if copied and start is not None and module.start_token is None:
      logger.warning(
        '%s was trained without the start token %s: text behind its soft prompts must '
        'be encoded without it (add_special_tokens=False)',
        flags.model_dir,
        start,
      )
  if flags.form == 'peft':
    hugging_face_export.write_peft(folder, name, module.config, params)
  else:
    merged = lora.merge_lora(params)
    hugging_face_export.write_model(folder, name, module.config, merged, flags.dtype)
    _write_tokenizer(folder, name, module.config.start_token)
  about = {
    'decoder_sha256': sha256,
    'model_id': model_id,  # whose training is in it; None: none
    'embedding_scale': module.config.embedding_scale,
  }
  _write_about(folder, about)


def _check_lora_alone(trained):
  """Refuses a decoder of which a PEFT folder would lose what else was trained."""
  of_decoder = [path for path in trained if path.startswith('decoder/')]
  others = sorted(x for x in of_decoder if '/lora_' not in x)
  if others and len(others) < len(of_decoder):
    raise ValueError(
      f'{others[0]} was trained beside LoRA, and a PEFT folder would lose it; expected '
      '--form=merged'
    )


def _write_about(folder, about):
  (path,) = folder.glob('*.safetensors')
  with path.open('rb') as file:
    weights = hashlib.file_digest(file, 'sha256').hexdigest()
  content = json.dumps({**about, 'weights_sha256': weights}, indent=2)
  (folder / 'persoma.json').write_text(f'{content}\n')


def _write_tokenizer(folder, name, start):
  from persoma_tf.decoders import gguf_file
  from persoma_tf.tokenizers import gguf_tokenizer

  if not pathlib.Path(name).is_dir():
    gguf_tokenizer.write_tokenizer(gguf_file(name), folder, start)
    return
  for file in _COPIED:
    if (source := pathlib.Path(name, file)).exists():
      shutil.copyfile(source, folder / file)


def _decoder_of(model_dir):
  """Returns the decoder that the recipe of a trained model names."""
  text = pathlib.Path(model_dir, 'config.gin').read_text(encoding='utf-8')
  return gin_settings.setting(gin_settings.settings(text), 'build.decoder')


def _parser():
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.export_decoder', description=__doc__.split('\n')[0]
  )
  which = parser.add_mutually_exclusive_group(required=True)
  which.add_argument('--decoder', help='name, GGUF file or Hugging Face folder')
  which.add_argument(
    '--model_dir', type=local_argument, help='finished folder of persoma_tf.train'
  )
  parser.add_argument(
    '--output_dir', required=True, type=local_argument, help='new or empty folder'
  )
  parser.add_argument(
    '--form',
    choices=('merged', 'peft'),
    default='merged',
    help="the whole model, or LoRA's matrices alone",
  )
  parser.add_argument(
    '--dtype',
    choices=('float32', 'bfloat16'),
    default='float32',
    help='type of the stored matrices',
  )
  return parser


if __name__ == '__main__':
  main()
