"""Loads a finished predictions folder into BigQuery, by one load job."""

import contextlib
import hashlib
import itertools
import json
import logging
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

from apache_beam.io.filesystems import FileSystems
from google.api_core.exceptions import Conflict, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery

from pipelines.common import output_folder, storage
from pipelines.common.job import JobError
from pipelines.predictions import bigquery_table, finished_shards
from pipelines.predictions.bigquery_table import PARTITION, table_reference
from pipelines.predictions.finished_shards import RunColumns
from tasks import schema

_LOGGER = logging.getLogger(__name__)
_LABEL, _LABEL_LENGTH = 'persoma_content', 63
_FORMATS = {
  'parquet': bigquery.SourceFormat.PARQUET,
  'avro': bigquery.SourceFormat.AVRO,
  'json': bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
}


class _Content(NamedTuple):
  """Describes a folder: files, format, columns, number of rows, run, digest."""

  paths: list[str]
  format: str
  columns: schema.Columns
  rows: int
  run: RunColumns | None
  digest: str


class _Present(NamedTuple):
  """Describes a run's rows in the table: number, first and last predicted_at."""

  rows: int
  first: object
  last: object


def load_folder(folder: str, table: str, location: str | None = None) -> int:
  """Loads a finished predictions folder, unless its rows are in the table already.

  Args:
    folder: local path or gs:// address.
    table: name of the table, as `TableName.parse` reads it; its dataset must exist.
    location: expected location of the dataset; None for any.

  Returns:
    The number of rows loaded: 0 if they were there already.

  Raises:
    JobError: the folder is not finished or has other columns, the table has another
      schema, partition or clustering, the table has other rows of the same run id, or
      BigQuery refuses a request.
    ValueError: `table` is not the name of a table.
  """
  target = table_reference(table)
  with storage.explained(folder):
    content = _read_content(folder)
  with _explained(table):
    client = bigquery.Client(project=target.project)
    found = bigquery_table.require_table(client, target, location, content.columns)
    loaded = _load_once(client, found, content) if content.run else 0
  _LOGGER.info('%s: %d of %d rows loaded into %s', folder, loaded, content.rows, table)
  return loaded


def _read_content(folder: str) -> _Content:
  completed = output_folder.require_finished(folder, 'pipelines.batch_predict')
  kind = completed['settings'].get('format')
  if kind not in _FORMATS:
    raise JobError(f'{folder} has no predictions: its format is {kind!r}')
  paths = finished_shards.find_shards(folder, kind)
  columns = schema.prediction_columns(completed['settings'].get('question'))
  run = finished_shards.check_shards(paths, kind, columns)
  rows = storage.read_json(FileSystems.join(folder, 'run_info.json'))['users']
  if bool(rows) != bool(run):
    raise JobError(f'{folder}: run_info.json says {rows} users, the files differ')
  return _Content(paths, kind, columns, rows, run, finished_shards.digest_shards(paths))


@contextlib.contextmanager
def _explained(table: str) -> Iterator[None]:
  """Raises the errors of Google's clients as a JobError that names the table."""
  try:
    with storage.explained(f'--bigquery_table={table}'):
      yield
  except GoogleAuthError as error:
    raise JobError(
      f'--bigquery_table={table}: no credentials ({error}): '
      'run gcloud auth application-default login'
    ) from error


def _load_once(client, table: bigquery.Table, content: _Content) -> int:
  """Loads the rows of the run if the table has none, and returns the number loaded.

  A job's id depends only on the table, the run and the number of the attempt:
  BigQuery refuses a second job with the same id, from this process or another. The
  next id is tried if a job has failed, or if its rows were deleted later.
  """
  key = [f'{table.reference}', f'{table.created}', content.run.run_id]
  key = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
  loaded_by = None
  for attempt in itertools.count(1):
    job_id = f'persoma-{key}-{attempt}'
    if not (load_job := _find_job(client, job_id, table)):
      present = _rows_of_run(client, table, content.run.run_id)
      if present.rows:
        _require_same(table, content, present, loaded_by)
        return 0
      with contextlib.suppress(Conflict):
        _submit(client, table, content, job_id)
        return content.rows
      load_job = _find_job(client, job_id, table)
    if load_job and load_job.exception(timeout=None) is None:  # waits for the job
      loaded_by = load_job


def _find_job(client, job_id, table):
  try:
    return client.get_job(job_id, location=table.location)
  except NotFound:
    return None


def _rows_of_run(client, table, run_id: str) -> _Present:
  # The bound is for tables that require a filter on the partition column.
  query = (
    f'SELECT COUNT(*), MIN({PARTITION}), MAX({PARTITION}) FROM `{table.reference}` '
    f"WHERE run_id = @run_id AND {PARTITION} >= TIMESTAMP '1970-01-01'"
  )
  parameter = bigquery.ScalarQueryParameter('run_id', 'STRING', run_id)
  config = bigquery.QueryJobConfig(query_parameters=[parameter], use_query_cache=False)
  (row,) = client.query(query, job_config=config, location=table.location).result()
  return _Present(*row.values())


def _require_same(table, content: _Content, present: _Present, loaded_by):
  """Raises a JobError if the table has other rows of this run than the folder."""
  run_id, time = content.run
  same = present == _Present(content.rows, time, time)
  if loaded_by:  # BigQuery keeps jobs for half a year
    same = same and loaded_by.labels.get(_LABEL) == content.digest[:_LABEL_LENGTH]
  if not same:
    raise JobError(
      f'table {table.reference} has other rows of run_id {run_id}: {present.rows}, '
      f'predicted at {present.first}; the folder has {content.rows}, predicted at '
      f'{time}. Write the folder with another --run_id, or delete the rows: '
      f'DELETE FROM `{table.reference}` WHERE run_id = {_literal(run_id)}'
    )
  _LOGGER.info('run_id %s is in %s already', run_id, table.reference)


def _literal(text: str) -> str:
  """Returns a text as a literal of SQL; BigQuery's escapes are those of JSON."""
  return json.dumps(text, ensure_ascii=False)


def _submit(client, table, content: _Content, job_id: str) -> None:
  """Runs one load job: all rows or none.

  Raises:
    Conflict: a job with this id exists.
    JobError: BigQuery could not load the files.
  """
  config = bigquery.LoadJobConfig(
    source_format=_FORMATS[content.format],
    create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
    write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
    labels={_LABEL: content.digest[:_LABEL_LENGTH]},
  )
  if content.format == 'parquet':
    options = bigquery.ParquetOptions()
    options.enable_list_inference = True  # otherwise a list is a nested record
    config.parquet_options = options
  if content.format == 'avro':
    config.use_avro_logical_types = True
  settings = {'job_id': job_id, 'location': table.location, 'job_config': config}
  if content.paths[0].startswith('gs://'):
    load_job = client.load_table_from_uri(content.paths, table.reference, **settings)
  else:
    with tempfile.TemporaryFile() as file:
      kind, columns = content.format, content.columns
      finished_shards.merge_shards(content.paths, kind, file, columns)
      load_job = client.load_table_from_file(
        file, table.reference, rewind=True, **settings
      )
  if error := load_job.exception(timeout=None):
    reasons = '; '.join(problem['message'] for problem in load_job.errors)
    raise JobError(f'load job {job_id} failed and loaded nothing: {reasons}') from error
  if load_job.output_rows != content.rows:
    raise JobError(
      f'load job {job_id} wrote {load_job.output_rows} rows to {table.reference}; '
      f'run_info.json of the folder says {content.rows} users'
    )
