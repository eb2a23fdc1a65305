"""What samplers know of the items, as each worker loads it."""

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipelines.common import output_folder, storage
from pipelines.common.job import JobError
from pipelines.items import bm25
from pipelines.items.item_table import ItemFacts, load_items, search_texts
from tasks import questions


@dataclasses.dataclass(frozen=True)
class ItemFactsSource:
  """Where the facts come from.

  Attributes:
    items_path: the item table.
    needs: the `sample.Sampler.needs` of the sampler.
    embeddings_dir: a finished folder of pipelines.embed_items, for vectors.
    query: for relevance; '' for the task's own.
  """

  items_path: str
  needs: str = ''
  embeddings_dir: str = ''
  query: str = ''

  def load(self) -> ItemFacts:
    """The facts, but for `counts`, which the ratings give."""
    facts = load_items(self.items_path).facts
    if self.needs == 'vectors':
      return facts._replace(vectors=read_vectors(self.embeddings_dir))
    if self.needs == 'relevance':
      query = self.query or questions.search_query(facts.genre_names)
      found = bm25.bm25_scores(
        search_texts(storage.read_parquet(self.items_path)), query
      )
      return facts._replace(relevance=found)
    return facts


def read_vectors(embeddings_dir: str) -> np.ndarray:
  """The vectors of the items' texts side by side, [I, H] float32 of length 1 or 0.

  Rounded to multiples of 2^-20, so that float64 holds their inner products exactly and
  no machine's order of additions can decide between two items.
  """
  path = FileSystems.join(embeddings_dir, 'embeddings.parquet')
  table = storage.read_parquet(path)
  fields = table.drop_columns('item_index').columns
  parts = [x.combine_chunks().flatten().to_numpy() for x in fields]
  vectors = np.concatenate([x.reshape(table.num_rows, -1) for x in parts], axis=1)
  length = np.linalg.norm(vectors, axis=1, keepdims=True)
  unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
  return np.rint(unit * 2**20) / np.float32(2**20)


def check_embeddings(embeddings_dir: str, ids: pa.Array) -> str:
  """The fingerprint of an embeddings folder that knows these items [I].

  Raises:
    JobError: it is not finished, of another template, or of other items.
  """
  completed = output_folder.require_finished(embeddings_dir, 'pipelines.embed_items')
  info = storage.read_json(FileSystems.join(embeddings_dir, 'encoder_info.json'))
  if info['template'] != 'fields':
    raise JobError(
      f'--embeddings_dir: {embeddings_dir} has the template {info["template"]}, whose '
      'vectors are of ratings and not of items: make one with --template=fields'
    )
  if info.get('items_sha256') != items_checksum(ids):
    raise JobError(
      f'--embeddings_dir: {embeddings_dir} was made from other items: run '
      'pipelines.embed_items on histories of the same movies files (any sampler)'
    )
  return completed['fingerprint']


def items_checksum(ids: pa.Array) -> str:
  """sha256 of item ids [I] in the order of the item table."""
  return hashlib.sha256('\n'.join(ids.to_pylist()).encode()).hexdigest()
