"""Which question about examples a prediction table answers."""

from collections.abc import Mapping
from typing import Any

from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.predictions.prediction_files import read_shards
from tasks import questions
from tasks.answers.example_question import ExampleQuestion


def questions_of(histories_dir: str) -> dict[str, ExampleQuestion]:
  """Returns the questions about examples, in the order of the dataset file."""
  info = storage.read_json(f'{histories_dir}/dataset_info.json')
  words = (info.get('dataset') or {}).get('questions', {})
  asked = {name: questions.from_words(name, own) for name, own in words.items()}
  return {name: x for name, x in asked.items() if isinstance(x, ExampleQuestion)}


def answered_question(
  histories_dir: str, predictions_dir: str, predicted: Mapping[str, Any]
) -> ExampleQuestion | None:
  """Returns the question about examples that a table answers; None if it is of users.

  The settings of the folder name it; of a folder without such a setting, the column
  `task` of the first row does. An empty table is taken to answer the first question.

  Args:
    histories_dir: finished folder of the histories.
    predictions_dir: finished folder of the predictions.
    predicted: settings in `COMPLETED` of the predictions.

  Raises:
    JobError: the model has other options than the histories, so that its numbers would
      be of other options.
  """
  known, asked = questions_of(histories_dir), predicted.get('question') or {}
  if not known:
    return None
  if not asked:
    shards = read_shards(predictions_dir, predicted['format'])
    rows = (row for shard in shards for row in shard)
    asked = {'name': next(rows, {'task': next(iter(known))})['task']}
  found = known.get(asked['name'])
  options = [*getattr(found, 'options', ())]
  if asked.get('options', options) != options:
    raise JobError(
      f'the predictions in {predictions_dir} choose among {asked["options"]}, the '
      f'examples in {histories_dir} among {options}'
    )
  return found


def require_examples(histories_dir: str, question: ExampleQuestion, split: str) -> None:
  """Checks that a split has examples of a question.

  Raises:
    JobError: the split has none.
  """
  info = storage.read_json(f'{histories_dir}/dataset_info.json')
  counts = info['counts'].get('examples', {}).get(question.name, {})
  if sum(counts.values()) if split == 'all' else counts.get(split):
    return
  found = ', '.join(f'{name} {count:,}' for name, count in counts.items())
  raise JobError(
    f'{histories_dir} has no examples of {question.name} in the split {split} '
    f'({found}): take another split'
  )
