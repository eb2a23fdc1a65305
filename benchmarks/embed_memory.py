"""embed_items on distinct texts: peak memory, beside the size of the vectors.

    python -m benchmarks.embed_memory --texts=200000 --texts=1000000

Events of `benchmarks.examples` without items, whose texts stand for them. In place of
an encoder, hashes of the texts are the vectors, of width 384: what is measured is the
job around it, in a process of its own. Writes benchmarks/results/embed_memory.json.
"""

import argparse
import hashlib
import json
import pathlib
import sys
import tempfile

import numpy as np

from benchmarks import examples
from benchmarks.processes import run_measured
from benchmarks.result_files import RESULTS

WIDTH = 384


class Hashes:
  """Encodes a text as its hash, a vector of length 1."""

  width, sha256 = WIDTH, ''

  def encode(self, texts: list[str]) -> np.ndarray:
    """Returns vectors [n, H] float32 of texts [n]."""
    drawn = [hashlib.shake_128(text.encode()).digest(4 * WIDTH) for text in texts]
    vectors = np.frombuffer(b''.join(drawn), np.uint32).reshape(-1, WIDTH)
    vectors = vectors.astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
  """Measures every number of texts."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--texts', type=int, action='append')
  parser.add_argument('--folder', help='embed the histories of this folder alone')
  flags = parser.parse_args()
  if flags.folder:
    embed(pathlib.Path(flags.folder))
    return
  results = []
  for texts in flags.texts:
    with tempfile.TemporaryDirectory() as folder:
      results.append(measure(pathlib.Path(folder), texts))
  path = RESULTS / 'embed_memory.json'
  path.write_text(json.dumps({'width': WIDTH, 'results': results}, indent=2) + '\n')


def measure(folder: pathlib.Path, texts: int) -> dict:
  """Makes histories with some distinct texts, and embeds them."""
  examples.build_texts(folder, texts)
  run = [sys.executable, '-m', 'benchmarks.embed_memory', f'--folder={folder}']
  _, peak = run_measured(run)
  info = json.loads((folder / 'embeddings' / 'encoder_info.json').read_text())
  assert info['distinct_texts'] == texts
  found = {
    'texts': texts,
    'vectors_gb': round(4e-9 * WIDTH * texts, 2),
    'peak_memory_gb': round(peak, 2),
  }
  print(found, flush=True)
  return found


def embed(folder: pathlib.Path) -> None:
  """Runs the job in this process, with hashes as the encoder's vectors."""
  from persoma_tf import encoders
  from pipelines import embed_items

  encoders.load_encoder = lambda *_, **__: Hashes()
  embed_items.run(
    [f'--histories_dir={folder}/texts', f'--output_dir={folder}/embeddings']
  )


if __name__ == '__main__':
  main()
