"""Loads, in each worker, the facts about the items that samplers use."""

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipelines.common import output_folder, storage
from pipelines.common.job import JobError
from pipelines.items import bm25
from pipelines.items.item_table import (
  ItemFacts,
  ItemLookup,
  load_items,
  search_texts,
)
from tasks import questions


@dataclasses.dataclass(frozen=True)
class ItemFactsSource:
  """Names the sources of the facts about items.

  Attributes:
    items_path: path of the item table.
    needs: name of the fact that the sampler needs, from `samplers.Sampler.needs`.
    embeddings_dir: finished folder of pipelines.embed_items, source of the vectors.
    query: query for the relevance; '' for the query of the task.
  """

  items_path: str
  needs: str = ''
  embeddings_dir: str = ''
  query: str = ''

  def load(self) -> ItemFacts:
    """Loads the facts, without `counts`, which come from the ratings."""
    return self.load_lookup().facts

  def load_lookup(self) -> ItemLookup:
    """Loads the ids of the items, and the facts."""
    found = load_items(self.items_path)
    if self.needs == 'vectors':
      facts = found.facts._replace(vectors=read_vectors(self.embeddings_dir))
      return found._replace(facts=facts)
    if self.needs == 'relevance':
      query = self.query or questions.search_query(found.facts.genre_names)
      texts = search_texts(storage.read_parquet(self.items_path))
      facts = found.facts._replace(relevance=bm25.bm25_scores(texts, query))
      return found._replace(facts=facts)
    return found


def read_vectors(embeddings_dir: str) -> np.ndarray:
  """Reads one vector per item, [I, H] float32 of length 1 or 0.

  The vectors of an item's fields are concatenated. Values are rounded to multiples of
  2^-20: float64 then holds inner products exactly, so that the order of additions on a
  machine cannot decide between two items.
  """
  path = FileSystems.join(embeddings_dir, 'embeddings.parquet')
  table = storage.read_parquet(path)
  fields = table.drop_columns('item_index').columns
  flat = [field.combine_chunks().flatten().to_numpy() for field in fields]
  vectors = np.concatenate([part.reshape(table.num_rows, -1) for part in flat], axis=1)
  length = np.linalg.norm(vectors, axis=1, keepdims=True)
  unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
  return np.rint(unit * 2**20) / np.float32(2**20)


def check_embeddings(embeddings_dir: str, ids: pa.Array) -> str:
  """Checks that an embeddings folder fits the items.

  Args:
    embeddings_dir: folder of pipelines.embed_items.
    ids: ids [I] of the item table, in its order.

  Returns:
    Fingerprint of the folder.

  Raises:
    JobError: the folder is not finished, has another template, or has other items.
  """
  completed = output_folder.require_finished(embeddings_dir, 'pipelines.embed_items')
  info = storage.read_json(FileSystems.join(embeddings_dir, 'encoder_info.json'))
  if info['template'] != 'fields':
    raise JobError(
      f'--embeddings_dir: {embeddings_dir} has the template {info["template"]}, whose '
      'vectors describe ratings, not items: make an embeddings folder with '
      '--template=fields'
    )
  if info.get('items_sha256') != items_checksum(ids):
    raise JobError(
      f'--embeddings_dir: {embeddings_dir} was made from other items: run '
      'pipelines.embed_items on histories of the same movies files (any sampler)'
    )
  return completed['fingerprint']


def items_checksum(ids: pa.Array) -> str:
  """Returns the sha256 of item ids [I], in hexadecimal; their order matters."""
  return hashlib.sha256('\n'.join(ids.to_pylist()).encode()).hexdigest()
