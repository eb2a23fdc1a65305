"""Item table to text vectors with a frozen history encoder, by Beam's RunInference.

    python -m pipelines.embed_items --histories_dir=histories --output_dir=embeddings \
      [--template=joined ...] [--runner=DataflowRunner ...]

Only distinct texts are encoded. Writes `embeddings.parquet` (and, for the template
`fields`, `ratings.parquet`) and `encoder_info.json`.
"""

import dataclasses
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import ModelHandler, RunInference

from persoma_tf import assets, encoders, units
from pipelines import folders, job, schema
from pipelines.transforms import item_facts, texts, tfrecord
from pipelines.transforms.progress import ShowProgress

_LOGGER = logging.getLogger(__name__)
_PAIRS = np.dtype([('item', np.int64), ('rating', np.float32)])
_Vectors = dict[str, np.ndarray]


def _flag(default, text):
  return dataclasses.field(default=default, metadata={'help': text})


@dataclasses.dataclass(frozen=True)
class Config:
  """The flags."""

  histories_dir: str = dataclasses.field(
    metadata={'help': 'finished folder of build_histories'}
  )
  output_dir: str = dataclasses.field(metadata={'help': 'folder to write'})
  overwrite: bool = _flag(False, 'make a finished folder again')
  encoder: str = _flag(
    'all-MiniLM-L6-v2',
    f'frozen history encoder: one of {", ".join(encoders.ENCODERS)}, or a TF-Hub '
    'address, or a folder with a SavedModel',
  )
  template: Literal[texts.TEMPLATES] = _flag('fields', 'how interactions become texts')
  batch_size: int = _flag(128, 'texts that are encoded together')
  item_noun: str = _flag(texts.MOVIELENS.item, 'what the texts call an item')
  genres_noun: str = _flag(texts.MOVIELENS.genres, 'and its genres')
  rating_noun: str = _flag(texts.MOVIELENS.rating, 'and the unit of a rating')

  def __post_init__(self):
    encoders.check(self.encoder)
    if self.batch_size < 1:
      raise ValueError(f'batch_size={self.batch_size}: expected at least 1')
    if not all(self.nouns):
      raise ValueError(f'{self.nouns}: expected a word each')

  @property
  def nouns(self) -> texts.Nouns:
    """What the texts call things."""
    return texts.Nouns(self.item_noun, self.genres_noun, self.rating_noun)


class EncoderHandler(ModelHandler[list[str], _Vectors, encoders.Encoder]):
  """Loads the encoder once a worker; an element is a batch of texts."""

  def __init__(self, encoder: str):
    super().__init__(max_batch_size=1)  # elements are batches already
    self._encoder = encoder

  def load_model(self) -> encoders.Encoder:
    """The encoder with its weights."""
    return encoders.load(self._encoder)

  def run_inference(self, batch, model, inference_args=None) -> Iterable[_Vectors]:
    """Each batch of texts as {text: vector [H]}."""
    for batch_of_texts in batch:
      yield dict(zip(batch_of_texts, model.encode(batch_of_texts), strict=True))


def read_pairs(path: str) -> np.ndarray:
  """The distinct (item, rating) pairs of a shard, [n] of _PAIRS."""
  pairs = [np.zeros(0, _PAIRS)]
  for record in tfrecord.read(path):
    history = schema.decode_example(record)
    rows = np.empty(len(history['history_items']), _PAIRS)
    rows['item'], rows['rating'] = history['history_items'], history['history_ratings']
    pairs.append(rows)
  return np.unique(np.concatenate(pairs))


def merge_pairs(shards: Iterable[np.ndarray]) -> np.ndarray:
  """The distinct pairs of several lists, sorted."""
  return np.unique(np.concatenate([np.zeros(0, _PAIRS), *shards]))


def all_texts(pairs, template, items: pa.Table, ratings, nouns=texts.MOVIELENS):
  """The distinct texts of a template; arguments as for `tables`."""
  if template == 'joined':
    return texts.distinct(texts.joined(items, pairs, nouns))
  described = items['description'].to_pylist()
  return texts.distinct(
    [*texts.title_genres(items, nouns), *described, *texts.ratings(ratings, nouns)]
  )


def tables(
  vectors: _Vectors,
  width: int,
  pairs: np.ndarray,
  template: str,
  items: pa.Table,
  ratings: Sequence[float],
  nouns: texts.Nouns = texts.MOVIELENS,
) -> dict[str, pa.Table]:
  """The files of the folder: name -> table.

  Args:
    vectors: of every distinct text, [H] float32.
    width: H.
    pairs: [n] of _PAIRS, for `joined`.
    template: 'fields' or 'joined'.
    items: the item table.
    ratings: the distinct ratings of the histories.
    nouns: what the texts call things.
  """
  index = {'item_index': items['item_index'].to_numpy()}
  if template == 'joined':
    keys = {'item_index': pairs['item'], 'rating': pairs['rating']}
    fields = {'joined': texts.joined(items, pairs, nouns)}
    return {'embeddings.parquet': _table(keys, fields, vectors, width)}
  fields = {'title_genres': texts.title_genres(items, nouns)}
  described = items['description'].to_pylist()
  if any(described):
    fields['description'] = described
  by_rating = {'rating_text': texts.ratings(ratings, nouns)}
  keys = {'rating': np.array(ratings, np.float32)}
  return {
    'embeddings.parquet': _table(index, fields, vectors, width),
    'ratings.parquet': _table(keys, by_rating, vectors, width),
  }


def _table(keys, fields, vectors, width):
  """Key columns, then a vector column a field; an empty text is a zero vector."""
  nothing, zero = np.zeros(0, np.float32), np.zeros(width, np.float32)
  arrays = [pa.array(values) for values in keys.values()]
  kinds = {name: array.type for name, array in zip(keys, arrays, strict=True)}
  for column in fields.values():
    flat = np.concatenate([nothing, *(vectors.get(text, zero) for text in column)])
    arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), width))
  return pa.table(
    arrays, schema=schema.vectors_arrow(kinds, dict.fromkeys(fields, width))
  )


def build(
  pipeline: beam.Pipeline,
  config: Config,
  shards: Sequence[str],
  items: pa.Table,
  ratings: Sequence[float],
) -> tuple[beam.PCollection, beam.PCollection]:
  """The graph.

  Args:
    pipeline: gets the transforms.
    config: the flags.
    shards: files of the histories; only `joined` reads them.
    items: the item table.
    ratings: the distinct ratings of the histories.

  Returns:
    (one dict of vectors a batch, one array of pairs).
  """
  pairs = (
    pipeline
    | 'Shards' >> beam.Create(shards if config.template == 'joined' else [])
    | 'ReadPairs' >> beam.Map(read_pairs)
    | 'MergePairs' >> beam.CombineGlobally(merge_pairs)
  )
  vectors = (
    pairs
    | 'Texts' >> beam.Map(all_texts, config.template, items, ratings, config.nouns)
    | 'Batches' >> beam.FlatMap(texts.batches, config.batch_size)
    | 'Spread' >> beam.Reshuffle()
    | 'Encode' >> RunInference(EncoderHandler(config.encoder))
    | 'Progress' >> beam.ParDo(ShowProgress('encoded', 'texts'))
  )
  return vectors, pairs


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are not as they should be.
  """
  config, options = job.parse(Config, argv, __doc__.split('\n')[0])
  made_from = folders.require_finished(
    config.histories_dir, 'pipelines.build_histories'
  )
  started = time.monotonic()
  settings = {
    'encoder': config.encoder,
    'template': config.template,
    'histories': made_from['fingerprint'],
  }
  if config.nouns != texts.MOVIELENS:  # folders of before there was a choice stay good
    settings['nouns'] = config.nouns._asdict()
  folder = folders.OutputFolder(config.output_dir, settings)
  if not folder.begin(config.overwrite):
    return
  about = _describe(config.encoder)
  with FileSystems.open(
    FileSystems.join(config.histories_dir, 'items.parquet')
  ) as file:
    items = pq.read_table(pa.BufferReader(file.read()))
  info = folders.read_json(FileSystems.join(config.histories_dir, 'dataset_info.json'))
  shards = [
    path for path in folders.list_files(config.histories_dir) if '.tfrecord' in path
  ]
  with beam.Pipeline(options=options) as pipeline:
    vectors, pairs = build(pipeline, config, shards, items, info['rating_values'])
    _ = (
      pipeline
      | 'Last' >> beam.Create([folder])
      | 'Write'
      >> beam.Map(
        _write,
        beam.pvalue.AsList(vectors),
        beam.pvalue.AsSingleton(pairs),
        config,
        about,
        items,
        info['rating_values'],
      )
    )
  folder.complete()
  took = units.format_duration(time.monotonic() - started)
  _LOGGER.info('%s: written in %s', folder.path, took)


def _describe(name):
  """(width, sha256) of an encoder. Gets its weights: better here than in a worker."""
  try:
    encoder = encoders.load(name)
  except (assets.AssetError, ValueError) as error:
    raise job.JobError(str(error)) from error
  return encoder.width, encoder.sha256


def _of_unit_length(vectors):
  norms = [float(np.linalg.norm(vector)) for vector in vectors.values()]
  return np.allclose(norms, 1, atol=1e-3)


def _write(folder, batches, pairs, config, about, items, ratings):
  """Writes the tables and the info file."""
  vectors = {text: vector for batch in batches for text, vector in batch.items()}
  width, sha256 = about
  made = tables(vectors, width, pairs, config.template, items, ratings, config.nouns)
  widths, count = {}, 0
  for name, table in made.items():
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    folders.write_file(folder.file(name), sink.getvalue().to_pybytes())
    for field in table.schema:
      if pa.types.is_fixed_size_list(field.type):
        widths[field.name] = field.type.list_size
        count += table.num_rows
  folder.write_json(
    'encoder_info.json',
    {
      **folder.settings,
      'encoder_sha256': sha256,
      'fields': widths,
      'width': sum(widths.values()),
      'normalization': 'l2' if _of_unit_length(vectors) else 'none',
      'items': items.num_rows,
      'items_sha256': item_facts.checksum(items['item_id']),
      'texts': count,
      'distinct_texts': len(vectors),
      'versions': job.versions('jax', 'tokenizers'),
    },
  )


if __name__ == '__main__':
  from pipelines import embed_items

  sys.exit(job.main(embed_items.run))
