"""Checks that a folder is finished, is of the expected job, and has users, examples."""

import os
import pathlib
from collections.abc import Callable, Mapping

COMPLETED = 'COMPLETED'
# Job -> file by which its folders are recognized. A folder of t5x_answers takes the
# place of one of batch_predict.
OWN_FILE = {
  'pipelines.build_histories': 'dataset_info.json',
  'pipelines.embed_items': 'encoder_info.json',
  'persoma_tf.train': 'adapter/manifest.json',
  'pipelines.batch_predict': 'run_info.json',
  'pipelines.t5x_answers': 'run_info.json',
  'pipelines.evaluate': 'metrics.json',
  'pipelines.study_report': 'scores.md',
}


def check_finished(
  folder: str, job: str, exists: Callable[[str], bool] = os.path.exists
) -> pathlib.Path:
  """Checks a folder and returns it as a path.

  Args:
    folder: address of the folder.
    job: module of the job that makes such folders, a key of OWN_FILE.
    exists: tells whether there is a file; for folders that are not local.

  Raises:
    FileNotFoundError: the folder is not finished, or another job made it.
  """
  for name in (COMPLETED, OWN_FILE[job]):
    if not exists(f'{folder.rstrip("/")}/{name}'):
      raise FileNotFoundError(
        f'{folder} is not a finished folder of {job} (no {name} in it): '
        f'make it with python -m {job}'
      )
  return pathlib.Path(folder)


def check_users(folder: str, split: str, users: Mapping[str, int]) -> None:
  """Checks that a split has users.

  Args:
    folder: finished folder of `pipelines.build_histories`, for the message.
    split: name of the split, or 'all'.
    users: number of users in each split, from `dataset_info.json`.

  Raises:
    ValueError: the split has no users.
  """
  if sum(users.values()) if split == 'all' else users.get(split):
    return
  found = ', '.join(f'{name} {count:,}' for name, count in users.items())
  raise ValueError(
    f'{folder} has no users in the split {split} ({found}): take another split, or '
    'make histories with other --train_fraction and --validation_fraction'
  )


def check_labels(folder: str, info: Mapping) -> None:
  """Checks that users have labels.

  Args:
    folder: finished folder of `pipelines.build_histories`, for the message.
    info: content of its `dataset_info.json`.

  Raises:
    ValueError: nothing is asked about users.
  """
  if not info.get('label_rule', True):
    asked = ', '.join(info['dataset']['questions'])
    raise ValueError(
      f'{folder} has no histories of users, only examples of the questions {asked}: '
      'expected one of these questions, or histories for one about users'
    )


def check_examples(
  folder: str, question: str, split: str, examples: Mapping[str, Mapping[str, int]]
) -> None:
  """Checks that a split has examples of a question.

  Args:
    folder: finished folder of `pipelines.build_histories`, for the message.
    question: name of the question.
    split: name of the split, or 'all'.
    examples: number of examples of each question in each split, from
      `dataset_info.json`; {} of a folder without such questions.

  Raises:
    ValueError: the folder has no such question, or the split no examples of it.
  """
  if question not in examples:
    raise ValueError(
      f'{folder} has no examples of question {question}, but of {sorted(examples)}: '
      'expected histories of a dataset file with this question'
    )
  counts = examples[question]
  if sum(counts.values()) if split == 'all' else counts.get(split):
    return
  found = ', '.join(f'{name} {count:,}' for name, count in counts.items())
  raise ValueError(
    f'{folder} has no examples of question {question} in the split {split} ({found}): '
    'take another split, or make histories with another split of the dataset file'
  )
