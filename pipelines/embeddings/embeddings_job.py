"""Runs the job of `pipelines.embed_items`: checks inputs, builds the graph."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
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
from pipelines.embeddings.vector_parts import EncodedTexts, WriteParts
from pipelines.embeddings.vector_tables import TextVectors, vector_tables
from pipelines.histories.history_records import list_history_files
from pipelines.items import item_facts
from tasks import interaction_texts

if TYPE_CHECKING:
  from pipelines.embed_items import Config

_JOB = 'pipelines.embed_items'
_LOGGER = logging.getLogger(__name__)
_BATCHES = 8  # in a file of vectors: single ones would be many files for a bucket
_OF_TEXTS = ('template', 'item_noun', 'genres_noun', 'rating_noun')  # flags


class EncoderHandler(ModelHandler[TextBatch, EncodedTexts, encoders.Encoder]):
  """Loads the encoder once per worker; an element is some batches of texts."""

  def __init__(self, encoder: str, batch_size: int, **choice: str):
    super().__init__(max_batch_size=1)  # elements are batches already
    self._encoder, self._size, self._choice = encoder, batch_size, choice

  def load_model(self) -> encoders.Encoder:
    """Loads the encoder with its weights."""
    return encoders.load_encoder(self._encoder, **self._choice)

  def run_inference(self, batch, model, inference_args=None) -> Iterable[EncodedTexts]:
    """Encodes the texts of elements, batch by batch."""
    for first, texts in batch:
      batches = encoder_texts.text_batches(texts, self._size)
      vectors = np.concatenate([model.encode(each) for _, each in batches])
      yield EncodedTexts(first, np.asarray(vectors, np.float32))


def run_job(config: Config, options: PipelineOptions) -> None:
  """Checks the inputs, then builds and runs the pipeline.

  Raises:
    JobError: the inputs or the output folder are unusable.
  """
  started = time.monotonic()
  made_from = output_folder.require_finished(
    config.histories_dir, 'pipelines.build_histories'
  )
  info = storage.read_json(FileSystems.join(config.histories_dir, 'dataset_info.json'))
  settings, words = _texts_of(config, info.get('dataset'))
  has_texts = 'history_texts' in info.get('schema', {})
  source = encoder_texts.StoredTexts(
    config.histories_dir,
    config.template,
    info['rating_values'],
    words,
    bool(config.item_vectors),
    has_texts,
  )
  settings['histories'] = made_from['fingerprint']
  if config.item_vectors:
    ids = source.read_items()['item_id']
    given_vectors.read_given_vectors(config.item_vectors, ids)  # checks them
    settings['item_vectors'] = storage.file_checksum(config.item_vectors)
  folder = output_folder.OutputFolder(config.output_dir, settings, _JOB)
  if not folder.begin(config.overwrite):
    return
  about = _describe_encoder(config.encoder, **config.choice)
  shards = list_history_files(config.histories_dir)
  detached = flags.is_detached(options)
  with beam.Pipeline(options=options) as pipeline:
    parts, pairs = build(pipeline, config, source, shards, folder)
    written = (beam.pvalue.AsIter(parts), beam.pvalue.AsSingleton(pairs))
    last = pipeline | 'Last' >> beam.Create([folder])
    write = _write_detached if detached else _write
    _ = last | 'Write' >> beam.Map(write, *written, config.item_vectors, source, about)
  if detached:
    _LOGGER.info('%s: the job is submitted and will complete the folder', folder.path)
    return
  folder.complete()
  took = format_duration(time.monotonic() - started)
  _LOGGER.info('%s: written in %s', folder.path, took)


def build(
  pipeline: beam.Pipeline,
  config: Config,
  source: encoder_texts.StoredTexts,
  shards: Sequence[str],
  folder: output_folder.OutputFolder,
) -> tuple[beam.PCollection, beam.PCollection]:
  """Builds the graph that encodes texts.

  Args:
    pipeline: pipeline to which the transforms are added.
    config: the flags.
    source: source of the texts.
    shards: files of the histories; read only for the template `joined`.
    folder: the output folder.

  Returns:
    A PCollection of VectorPart, and one with a single array of `rated_pairs.PAIRS`.
  """
  pairs = (
    pipeline
    | 'Shards' >> beam.Create(shards if config.template == 'joined' else [])
    | 'ReadPairs' >> beam.Map(rated_pairs.read_pairs)
    | 'MergePairs' >> beam.CombineGlobally(rated_pairs.merge_pairs)
  )
  inputs = filter(None, (config.histories_dir, config.item_vectors))
  reach = beam.ParDo(CheckReach(folder, *inputs))
  handler = EncoderHandler(config.encoder, config.batch_size, **config.choice)
  parts = (
    pairs
    | 'ReachTexts' >> reach
    | 'Texts' >> beam.Map(source.read_texts)
    | 'Batches'
    >> beam.FlatMap(encoder_texts.text_batches, _BATCHES * config.batch_size)
    | 'Spread' >> beam.Reshuffle()
    | 'Reach' >> reach
    | 'Encode' >> RunInference(handler)
    | 'Progress' >> beam.ParDo(ShowProgress('encoded', 'texts'))
    | 'Keep' >> beam.ParDo(WriteParts(folder))
  )
  return parts, pairs


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


def _write_detached(folder, *arguments):
  """Writes and completes the folder as the last step of a detached job."""
  if not folder.is_finished():  # else Beam repeats the work of a worker that was lost
    _write(folder, *arguments)
    folder.complete()


def _write(folder, parts, pairs, item_vectors, source, about):
  """Writes the tables and the info file."""
  (width, sha256), texts, items = about, source.read_texts(pairs), source.read_items()
  parts = sorted(parts)
  vectors = TextVectors(texts, width, parts, folder)
  widths, count, given, facts = {}, 0, None, {}
  if item_vectors:
    given, others = given_vectors.read_given_vectors(item_vectors, items['item_id'])
    without = int((~given.any(axis=1)).sum())
    facts = {'items_without_vector': without, 'vectors_of_other_items': others}
  for name, table in vector_tables(pairs, source, items, given).items():
    widths |= table.write(folder.file(name), vectors)
    count += len(table) * len(table.fields)
  folder.write_json(
    'encoder_info.json',
    {
      **folder.settings,
      **facts,
      'encoder_sha256': sha256,
      'fields': widths,
      'width': sum(widths.values()),
      'normalization': 'l2' if all(part.of_unit_length for part in parts) else 'none',
      'items': items.num_rows,
      'items_sha256': item_facts.items_checksum(items['item_id']),
      'texts': count,
      'distinct_texts': len(texts),
      'versions': job.versions('jax', 'tokenizers'),
    },
  )
