"""Finds the records of one user, in the files that can have them."""

import difflib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.histories import history_records
from pipelines.histories.split import Split
from tasks import schema, shard_files


def files_of_user(histories_dir: str, user: str, question: str = '') -> list[str]:
  """Lists the files that can have records of a user: those of the user's shard.

  Args:
    histories_dir: finished folder of `pipelines.build_histories`.
    user: id of the user.
    question: name of the question whose examples are wanted; '' for histories.
  """
  info = storage.read_json(FileSystems.join(histories_dir, 'dataset_info.json'))
  names = ('train_fraction', 'validation_fraction', 'num_shards', 'seed')
  split = Split(*(info[name] for name in names))
  shard = split.shard_names()[split.assign(pa.array([user]))[0]]
  files = history_records.list_history_files(histories_dir, 'all', question)
  # A file of examples can be of another split than its users.
  ending = shard.removeprefix(shard.split('-')[0])
  return [path for path in files if f'{ending}.' in path] or files


def read_user_records(
  histories_dir: str,
  user: str,
  kinds: Mapping[str, str] = schema.HISTORY,
  question: str = '',
) -> list[tuple[str, dict[str, Any]]]:
  """Reads the history of a user, or the user's examples of a question.

  Args:
    histories_dir: finished folder of `pipelines.build_histories`.
    user: id of the user.
    kinds: kind of each field of a record.
    question: name of the question whose examples are wanted; '' for histories.

  Returns:
    One or more (name of the split, record).

  Raises:
    JobError: there is none, or a record of the same file is damaged.
  """
  files = files_of_user(histories_dir, user, question)
  found = [
    (shard_files.parse_shard(path.rpartition('/')[2]).table, record)
    for path in files
    for record in history_records.read_history_file(path, kinds, user.encode())
    if record['user_id'] == user
  ]
  if not found:
    records = (
      x for path in files for x in history_records.read_history_file(path, kinds)
    )
    near = difflib.get_close_matches(user, {x['user_id'] for x in records}, 3, 0)
    what = f'example of question {question}' if question else 'history'
    raise JobError(
      f'{histories_dir} has no {what} of user {user!r}: expected the id of a user '
      f'who has one, such as {", ".join(near)}'
    )
  return found
