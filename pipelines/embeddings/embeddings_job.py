"""Runs the job of `pipelines.embed_items`: checks inputs, builds the graph."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from persoma_tf import assets, encoders
from persoma_tf.units import format_duration
from pipelines.common import flags, job, output_folder, storage
from pipelines.common.progress import ShowProgress
from pipelines.common.reach import CheckReach
from pipelines.embeddings import encoder_texts, given_vectors, rated_pairs
from pipelines.embeddings.encoder_texts import TextBatch
from pipelines.embeddings.vector_tables import TextVectors, vector_tables
from pipelines.histories.history_records import list_history_files
from pipelines.items import item_facts
from tasks import interaction_texts, schema

if TYPE_CHECKING:
  from pipelines.embed_items import Config

_JOB = 'pipelines.embed_items'
_LOGGER = logging.getLogger(__name__)
_OF_TEXTS = ('template', 'item_noun', 'genres_noun', 'rating_noun')  # flags


@dataclasses.dataclass(frozen=True)
class EncodedTexts:
  """Holds the vectors of neighbours in the list of distinct texts.

  Attributes:
    first: place of the first one in the list.
    vectors: [n, H] float32, in one piece: vectors apart would take twice the memory.
  """

  first: int
  vectors: np.ndarray

  def __len__(self) -> int:
    """Returns the number of texts."""
    return len(self.vectors)


class EncoderHandler(ModelHandler[TextBatch, EncodedTexts, encoders.Encoder]):
  """Loads the encoder once per worker; an element is a batch of texts."""

  def __init__(self, encoder: str, **choice: str):
    super().__init__(max_batch_size=1)  # elements are batches already
    self._encoder, self._choice = encoder, choice

  def load_model(self) -> encoders.Encoder:
    """Loads the encoder with its weights."""
    return encoders.load_encoder(self._encoder, **self._choice)

  def run_inference(self, batch, model, inference_args=None) -> Iterable[EncodedTexts]:
    """Encodes batches of texts."""
    for first, texts in batch:
      yield EncodedTexts(first, np.asarray(model.encode(texts), np.float32))


def run_job(config: Config, options: PipelineOptions) -> None:
  """Checks the inputs, then builds and runs the pipeline.

  Raises:
    JobError: the inputs or the output folder are unusable.
  """
  started = time.monotonic()
  made_from = output_folder.require_finished(
    config.histories_dir, 'pipelines.build_histories'
  )
  of_histories = lambda name: FileSystems.join(config.histories_dir, name)
  info = storage.read_json(of_histories('dataset_info.json'))
  settings, words = _texts_of(config, info.get('dataset'))
  has_texts = 'history_texts' in info.get('schema', {})
  events_path = of_histories(schema.EVENT_TEXTS) if has_texts else ''
  settings['histories'] = made_from['fingerprint']
  items = storage.read_parquet(of_histories('items.parquet'))
  if config.item_vectors:
    given_vectors.read_given_vectors(
      config.item_vectors, items['item_id']
    )  # checks them
    settings['item_vectors'] = storage.file_checksum(config.item_vectors)
  folder = output_folder.OutputFolder(config.output_dir, settings, _JOB)
  if not folder.begin(config.overwrite):
    return
  about = _describe_encoder(config.encoder, **config.choice)
  ratings = info['rating_values']
  shards = list_history_files(config.histories_dir)
  detached = flags.is_detached(options)
  with beam.Pipeline(options=options) as pipeline:
    known = items, ratings, folder, events_path
    vectors, pairs = build(pipeline, config, words, shards, *known)
    written = (beam.pvalue.AsIter(vectors), beam.pvalue.AsSingleton(pairs))
    last = pipeline | 'Last' >> beam.Create([folder])
    write = _write_detached if detached else _write
    known = config, words, about, items, ratings, events_path
    _ = last | 'Write' >> beam.Map(write, *written, *known)
  if detached:
    _LOGGER.info('%s: the job is submitted and will complete the folder', folder.path)
    return
  folder.complete()
  took = format_duration(time.monotonic() - started)
  _LOGGER.info('%s: written in %s', folder.path, took)


def build(
  pipeline: beam.Pipeline,
  config: Config,
  words: interaction_texts.Words,
  shards: Sequence[str],
  items: pa.Table,
  ratings: Sequence[float],
  folder: output_folder.OutputFolder,
  events_path: str = '',
) -> tuple[beam.PCollection, beam.PCollection]:
  """Builds the graph that encodes texts.

  Args:
    pipeline: pipeline to which the transforms are added.
    config: the flags.
    words: words or templates of the texts.
    shards: files of the histories; read only for the template `joined`.
    items: the item table.
    ratings: distinct ratings of the histories.
    folder: the output folder.
    events_path: path of the table of event texts; '' where there is none.

  Returns:
    A PCollection with EncodedTexts for every batch, and one with a single array of
    `rated_pairs.PAIRS`.
  """
  pairs = (
    pipeline
    | 'Shards' >> beam.Create(shards if config.template == 'joined' else [])
    | 'ReadPairs' >> beam.Map(rated_pairs.read_pairs)
    | 'MergePairs' >> beam.CombineGlobally(rated_pairs.merge_pairs)
  )
  known = (config.template, items, ratings, words)
  inputs = filter(None, (config.histories_dir, config.item_vectors))
  vectors = (
    pairs
    | 'Texts'
    >> beam.Map(
      encoder_texts.stored_texts, *known, bool(config.item_vectors), events_path
    )
    | 'Batches' >> beam.FlatMap(encoder_texts.text_batches, config.batch_size)
    | 'Spread' >> beam.Reshuffle()
    | 'Reach' >> beam.ParDo(CheckReach(folder, *inputs))
    | 'Encode' >> RunInference(EncoderHandler(config.encoder, **config.choice))
    | 'Progress' >> beam.ParDo(ShowProgress('encoded', 'texts'))
  )
  return vectors, pairs


def _texts_of(
  config: Config, dataset: Mapping[str, Any] | None
) -> tuple[dict[str, Any], interaction_texts.Words]:
  """Returns the settings about encoder and texts, and the words of the texts.

  Raises:
    JobError: a flag is given that a dataset file decides.
  """
  settings: dict[str, Any] = {'encoder': config.encoder, 'template': config.template}
  settings |= {f'encoder_{part}': name for part, name in config.choice.items()}
  if dataset:
    _refuse_flags(config, dataset['name'])
    own = {'template': interaction_texts.OWN, 'text_templates': dataset['texts']}
    return settings | own, interaction_texts.OwnTexts.of(dataset['texts'])
  # Older folders, written before nouns could be chosen, have none in their settings.
  if config.nouns != interaction_texts.MOVIELENS:
    settings['nouns'] = config.nouns._asdict()
  return settings, config.nouns


def _refuse_flags(config: Config, dataset: str) -> None:
  """Raises JobError if a flag is given that a dataset file decides."""
  for field in dataclasses.fields(config):
    given = getattr(config, field.name)
    if field.name in _OF_TEXTS and given != field.default:
      raise job.JobError(
        f'--{field.name}={given}: the histories are of the dataset {dataset}, whose '
        'file has the templates of the texts'
      )


def _describe_encoder(name: str, **choice: str) -> tuple[int, str]:
  """Returns width and sha256 of an encoder; downloads its weights before the run."""
  try:
    encoder = encoders.load_encoder(name, **choice)
  except (assets.AssetError, ValueError) as error:
    raise job.JobError(str(error)) from error
  return encoder.width, encoder.sha256


def _are_of_unit_length(vectors: np.ndarray) -> bool:
  # The function of numpy for norms copies the vectors.
  return np.allclose(np.sqrt(np.einsum('ij,ij->i', vectors, vectors)), 1, atol=1e-3)


def _write_detached(folder, *arguments):
  """Writes and completes the folder as the last step of a detached job."""
  if not folder.is_finished():  # else Beam repeats the work of a worker that was lost
    _write(folder, *arguments)
    folder.complete()


def _write(folder, batches, pairs, config, words, about, items, ratings, events_path):
  """Writes the tables and the info file."""
  width, sha256 = about
  known = (pairs, config.template, items, ratings, words)
  of_events = encoder_texts.read_event_texts(events_path)
  texts = encoder_texts.template_texts(*known, bool(config.item_vectors), of_events)
  vectors = TextVectors(texts, width)
  for batch in batches:  # read one by one
    vectors.matrix[batch.first : batch.first + len(batch)] = batch.vectors
  widths, count, given, facts = {}, 0, None, {}
  if config.item_vectors:
    given, others = given_vectors.read_given_vectors(
      config.item_vectors, items['item_id']
    )
    without = int((~given.any(axis=1)).sum())
    facts = {'items_without_vector': without, 'vectors_of_other_items': others}
  for name, table in vector_tables(vectors, *known, given, of_events):
    storage.write_parquet(folder.file(name), table)
    for field in table.schema:
      if pa.types.is_fixed_size_list(field.type):
        widths[field.name] = field.type.list_size
        count += table.num_rows
  folder.write_json(
    'encoder_info.json',
    {
      **folder.settings,
      **facts,
      'encoder_sha256': sha256,
      'fields': widths,
      'width': sum(widths.values()),
      'normalization': 'l2' if _are_of_unit_length(vectors.matrix) else 'none',
      'items': items.num_rows,
      'items_sha256': item_facts.items_checksum(items['item_id']),
      'texts': count,
      'distinct_texts': len(texts),
      'versions': job.versions('jax', 'tokenizers'),
    },
  )
