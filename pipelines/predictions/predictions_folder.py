"""Checks the inputs of a prediction table, and completes its folder."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from apache_beam.io.filesystems import FileSystems

from persoma_tf.inference.decoding_settings import ENGINES
from persoma_tf.training import model_record
from pipelines.common import job, output_folder, storage
from pipelines.embeddings.embeddings_folder import input_fingerprints
from pipelines.predictions import answer_shards, prediction_files
from pipelines.predictions.question_checks import check_questions
from tasks import schema, shard_files
from tasks.answers.choice import Choice
from tasks.answers.example_question import ExampleQuestion
from tasks.questions import AnyQuestion

_LOGGER = logging.getLogger(__name__)


class CheckedInputs(NamedTuple):
  """Holds what the input folders of a run say.

  Attributes:
    manifest: manifest of the model.
    fingerprints: fingerprints of the histories and embeddings.
    questions: the questions to answer: one that is about examples, or None for one
      about users. By name if they are asked by name, else under ''.
  """

  manifest: dict
  fingerprints: dict[str, str]
  questions: dict[str, ExampleQuestion | None]


def check_model_inputs(config) -> CheckedInputs:
  """Checks that folders are finished, belong together, and have whom to ask.

  Args:
    config: as of `check_folders` and `check_questions`.

  Raises:
    JobError: they are not, or do not, or the model cannot answer a question.
  """
  return CheckedInputs(*check_folders(config), check_questions(config))


def check_folders(config) -> tuple[dict, dict[str, str]]:
  """Checks that folders are finished and belong together.

  Args:
    config: `model_dir`, `histories_dir`, `embeddings_dir`.

  Returns:
    (manifest of the model, fingerprints of the histories and embeddings).

  Raises:
    JobError: they are not, or do not.
  """
  manifest, fingerprints = read_manifest(config.model_dir), input_fingerprints(config)
  check_trained_on(manifest, config)
  return manifest, fingerprints


def check_trained_on(manifest: Mapping, config) -> None:
  """Compares embeddings and histories with those of the model's training.

  Logs a warning about genres that the training did not have: the model can still answer
  with its own genres.

  Raises:
    JobError: the embeddings have another encoder, template, nouns or texts.
  """
  path = FileSystems.join(config.embeddings_dir, 'encoder_info.json')
  info = storage.read_json(path)
  as_text = model_record.reads_text(manifest)  # such a model uses only the words
  known = manifest.get('vectors', {})
  if known:  # manifests from before there were dataset files do not tell of templates
    known = {'text_templates': None, **known}
  for name, wanted in known.items():
    if info.get(name) != wanted and (
      name in ('nouns', 'text_templates') or not as_text
    ):
      raise job.JobError(
        f'{path}: {name} is {info.get(name)}, but {config.model_dir} was trained with '
        f'{wanted}: run python -m pipelines.embed_items with the same --encoder, '
        '--template, nouns and texts as for the training'
      )
  path = FileSystems.join(config.histories_dir, 'dataset_info.json')
  genres = storage.read_json(path)['genres']
  if new := sorted({*genres} - {*manifest.get('genres', genres)}):
    _LOGGER.warning(
      '%s: the model was not trained on the genres %s', path, ', '.join(new)
    )


def read_manifest(model_dir: str) -> dict:
  """Reads the manifest of a finished training.

  Raises:
    JobError: the training is not finished.
  """
  output_folder.require_finished(model_dir, 'persoma_tf.train')
  return storage.read_json(FileSystems.join(model_dir, 'adapter', 'manifest.json'))


def columns_of_run(
  manifest: dict, run_id: str, folder: output_folder.OutputFolder
) -> dict:
  """Returns the columns that are the same in all rows; run_id '' becomes a hash."""
  return {
    'model_id': manifest['model_id'],
    'run_id': run_id or folder.fingerprint[:16],
    'predicted_at': folder.begun_at(),
  }


def question_settings(question: AnyQuestion | None) -> dict[str, Any]:
  """Returns what a folder's settings say of its question; {} of one about users."""
  if not isinstance(question, ExampleQuestion):
    return {}
  words = {name: getattr(question, name) for name in ('name', 'asks_item')}
  if isinstance(question, Choice):
    words['options'] = [*question.options]
  return {'question': {'kind': question.KIND, **words}}


def missing_shards(
  folder: output_folder.OutputFolder,
  some: Sequence[answer_shards.AnswerShard],
  kind: str,
) -> list:
  """Returns the shards in `some` whose file of the table does not exist."""
  names = folder.names()
  return [shard for shard in some if shard.file(kind) not in names]


def noun_of(folder: output_folder.OutputFolder) -> str:
  """Returns what the rows of a folder's table answer: users, or examples."""
  return 'examples' if 'question' in folder.settings else 'users'


def finish_predictions(
  folder: output_folder.OutputFolder,
  every: Sequence[answer_shards.AnswerShard],
  kind: str,
):
  """Counts the written rows, writes schema and info, and completes the folder.

  Raises:
    JobError: some users are neither in the rows nor in the rejects.
  """
  try:
    if not folder.is_finished():
      _count_users(folder, every, kind)
    folder.complete()
  except Exception:  # another machine of this run may have completed it meanwhile
    if not folder.is_finished():
      raise


def _engine_of(settings) -> dict[str, str]:
  """Returns the engine and its type; nothing where another program answered."""
  if 'decoding' not in settings:
    return {}
  return {'engine': ENGINES[0], 'dtype': settings['decoding']['weights']}


def _count_users(folder, every, kind):
  """Counts the users of all shards, and writes schema and info."""
  columns = schema.prediction_columns(folder.settings.get('question'))
  users = failures = 0
  total = 0.0
  for rows in prediction_files.read_shards(folder.place, kind):
    users += len(rows)
    failures += sum(not row['parse_ok'] for row in rows)
    total += sum(row['log_prob'] for row in rows)
  rejects = sum(
    len(storage.read_file(folder.file(name)).splitlines())
    for name in shard_files.shard_files(folder.names(), ['rejects'], ['.jsonl'])
  )
  wanted = sum(shard.users for shard in every)
  if users + rejects != wanted:
    raise job.JobError(
      f'{folder.path}: {users} {noun_of(folder)} answered and {rejects} rejected of '
      f'{wanted}: '
      'shards are missing or from another run; --overwrite writes them again'
    )
  if rejects:
    _LOGGER.warning(
      '%s: %d of %d %s have no answer: rejects-*.jsonl says why',
      folder.path,
      rejects,
      wanted,
      noun_of(folder),
    )
  folder.write_json('bigquery_schema.json', schema.predictions_bigquery(columns))
  folder.write_json(
    'run_info.json',
    {
      **_engine_of(folder.settings),
      **folder.settings,
      'users': users,
      'rejects': rejects,
      'parse_failures': failures,
      'mean_log_prob': total / max(users, 1),
      'versions': job.versions('jax', 'flax'),
    },
  )
