"""Checks that an embeddings folder belongs to a histories folder."""

from pipelines.common import job, output_folder


def input_fingerprints(config) -> dict[str, str]:
  """Returns the fingerprints of the histories and embeddings.

  Raises:
    JobError: a folder is not finished, or the embeddings are for other histories.
  """
  histories = output_folder.require_finished(
    config.histories_dir, 'pipelines.build_histories'
  )
  embeddings = output_folder.require_finished(
    config.embeddings_dir, 'pipelines.embed_items'
  )
  if embeddings['settings']['histories'] != histories['fingerprint']:
    raise job.JobError(
      f'{config.embeddings_dir} was made from other histories than '
      f'{config.histories_dir}: run python -m pipelines.embed_items on these histories'
    )
  return {
    'histories': histories['fingerprint'],
    'embeddings': embeddings['fingerprint'],
  }
