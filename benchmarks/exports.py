"""Loads what `persoma_tf.export_decoder` writes with transformers and PEFT.

    python -m benchmarks.exports --peer_python=/path/to/python

The peer's Python has torch, transformers and peft. Exported are SmolLM2 from its GGUF
file; a small Gemma 3 from GGUF and a small Qwen 3, of random weights; and LoRA in all
matrices of the Qwen, once as PEFT's matrices and once merged. Writes
`benchmarks/results/exports.json`: the largest differences of the logits, and the texts
whose ids are equal.
"""

import argparse
import json
import pathlib
import tempfile

import jax
import numpy as np
from flax import traverse_util

from benchmarks.processes import last_line
from benchmarks.result_files import RESULTS
from persoma_tf import decoders, export_decoder, testing
from persoma_tf.decoders import hugging_face_export
from persoma_tf.parameters import lora
from tasks.vocabularies import load_vocabulary
from tests import tiny

_RECORDED = tiny.ROOT / 'tasks' / 'smollm2_token_ids.json'


def main() -> None:
  """Exports, compares, writes."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--peer_python', required=True)
  flags = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    export(pathlib.Path(folder))
    found = last_line([flags.peer_python, 'benchmarks/exports_peer.py', folder])
  (RESULTS / 'exports.json').write_text(json.dumps(found, indent=2) + '\n')


def export(folder: pathlib.Path) -> None:
  """Writes the folders of all models, and our tokens and logits beside each."""
  qwen = testing.write_decoder(folder / 'source')
  model = tiny.train_sentence_piece()
  add = lambda writer: tiny.add_sentence_piece(writer, model)
  gemma = tiny.write_gemma(folder / 'gemma.gguf', tiny.random_gemma(370), add)
  sources = {'smollm2': 'smollm2-135m-instruct', 'qwen': qwen, 'gemma': gemma}
  for name, source in sources.items():
    export_decoder.main([f'--decoder={source}', f'--output_dir={folder}/{name}'])
    record(folder / name, decoders.load_decoder(str(source)))
  tuned = with_lora(decoders.load_decoder(str(qwen)))
  for name in ('peft', 'merged'):
    (folder / name).mkdir()
  config = tuned.module.config
  hugging_face_export.write_peft(folder / 'peft', str(qwen), config, tuned.params)
  merged = lora.merge_lora(tuned.params)
  hugging_face_export.write_model(
    folder / 'merged', str(qwen), config, merged, 'float32'
  )
  for name in ('peft', 'merged'):
    record(folder / name, tuned)
  ours = load_vocabulary(f'{folder}/smollm2')
  texts = [text for text, _ in json.loads(_RECORDED.read_text())]
  (folder / 'texts.json').write_text(json.dumps([(x, ours.encode(x)) for x in texts]))


def with_lora(
  decoder: decoders.LoadedDecoder, targets: str = 'all'
) -> decoders.LoadedDecoder:
  """The decoder with random LoRA."""
  flat = traverse_util.flatten_dict(lora.add_lora(decoder.params, 0, targets=targets))
  rng = np.random.default_rng(0)
  draw = lambda x: rng.normal(0, 0.2, x.shape).astype(np.float32)
  flat = {path: draw(x) if path[-1] == 'lora_b' else x for path, x in flat.items()}
  return decoder._replace(params=traverse_util.unflatten_dict(flat))


def record(path: pathlib.Path, decoder: decoders.LoadedDecoder) -> None:
  """Writes tokens [2, 12] and our logits beside a folder."""
  tokens = np.random.default_rng(0).integers(decoder.vocab_size, size=(2, 12))
  logits = jax.jit(decoder.module.apply)({'params': decoder.params}, tokens)
  np.savez(path.with_suffix('.npz'), tokens=tokens, logits=logits)


if __name__ == '__main__':
  main()
