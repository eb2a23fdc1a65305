"""The BigQuery emulator in a process of its own, with four things that it lacks.

    python -m tests.engines.bigquery_server PORT_FILE BUCKET_FOLDER

As in BigQuery, a job's id is taken once (409 Already Exists), also that of an upload; a
load job is still running when its insertion is answered; it is atomic; and it says how
many rows it has loaded, not how many the table has.
BUCKET_FOLDER is where the bucket emulator keeps its files.
"""

import asyncio
import contextvars
import os
import pathlib
import sys

import duckdb
from bqemulator.api.routes import jobs, upload
from bqemulator.config import Settings
from bqemulator.domain.errors import ResourceRef, resource_already_exists
from bqemulator.server import EmulatorServer
from bqemulator.storage.sql_identifiers import quoted_table_ref
from duckdb_extensions import import_extension

_upload_id = contextvars.ContextVar('job id of an upload')
_one_load = asyncio.Lock()


def _refuse_known(context, project, job_id):
  if context.catalog.get_job(project, job_id):
    raise resource_already_exists(ResourceRef('job', project, resource_id=job_id))


def _atomic(execute):
  """The load, in one transaction."""

  async def load(project_id, job_id, config, ctx):
    target = _target(config)
    async with _one_load:
      before = _count(ctx, target)
      ctx.engine.execute('BEGIN')
      try:
        done = await execute(project_id, job_id, config, ctx)
      except BaseException:
        ctx.engine.execute('ROLLBACK')
        raise
      ctx.engine.execute('COMMIT')
      rows = _count(ctx, target) - before
    return done.model_copy(update={'statistics': {'load': {'outputRows': str(rows)}}})

  return load


def _target(config):
  """The target of a load job as SQL names it."""
  table = config['load']['destinationTable']
  return quoted_table_ref(table['projectId'], table['datasetId'], table['tableId'])


def _count(context, target):
  return context.engine.execute(f'SELECT COUNT(*) FROM {target}').fetchone()[0]


def _refusing(handle):
  """jobs.insert of a load from a bucket."""

  async def insert(project_id, job_id, config, ctx):
    _refuse_known(ctx, project_id, job_id)
    return await handle(project_id, job_id, config, ctx)

  return insert


def _keeping_id(parse):
  """The configuration of an upload, with the job's id that the emulator forgets."""
  return lambda envelope: {
    **parse(envelope),
    'jobId': envelope['jobReference']['jobId'],
  }


def _with_id(run):
  """The end of an upload, as the job that the client named."""

  async def run_load(*, project_id, configuration, media_path, ctx):
    job_id = configuration.pop('jobId')
    _refuse_known(ctx, project_id, job_id)
    _upload_id.set(job_id)
    return await run(
      project_id=project_id,
      configuration=configuration,
      media_path=media_path,
      ctx=ctx,
    )

  return run_load


def _running_at_first(build):
  """The first answer about a load job does not know its end."""
  answered = set()

  def respond(project_id, job_id, job_meta, configuration):
    answer = build(project_id, job_id, job_meta, configuration)
    if job_meta.job_type == 'LOAD' and job_id not in answered:
      answered.add(job_id)
      answer |= {'status': {'state': 'RUNNING'}, 'statistics': {}}
    return answer

  return respond


def _mend() -> None:
  for module in (jobs, upload):
    module._build_job_response = _running_at_first(module._build_job_response)
  jobs.execute_load_job = upload.execute_load_job = _atomic(jobs.execute_load_job)
  jobs._handle_load_job_with_async_envelope = _refusing(
    jobs._handle_load_job_with_async_envelope
  )
  upload._load_configuration_from_envelope = _keeping_id(
    upload._load_configuration_from_envelope
  )
  upload._new_job_id = _upload_id.get
  upload._run_load = _with_id(upload._run_load)


async def _serve(port_file: str, bucket_folder: str) -> None:
  server = EmulatorServer(
    Settings(rest_port=0, grpc_port=0, gcs_local_root=bucket_folder)
  )
  await server.start()
  # It would take a file of the same size and second for the one it has read before.
  server._engine.execute('SET enable_external_file_cache = false')
  ready = pathlib.Path(port_file)
  ready.with_suffix('.tmp').write_text(str(server.rest_port))
  os.rename(ready.with_suffix('.tmp'), ready)
  await asyncio.Event().wait()


def main(port_file: str, bucket_folder: str) -> None:
  """Serves until it is killed."""
  for name in ('spatial', 'avro'):  # else they are looked for on the network
    import_extension(name, con=duckdb.connect())
  _mend()
  asyncio.run(_serve(port_file, bucket_folder))


if __name__ == '__main__':
  main(*sys.argv[1:])
