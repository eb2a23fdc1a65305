"""Which choice histories and predictions are about, and its prompts."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.predictions.prediction_files import read_shards
from tasks import questions
from tasks.answers.choice import Choice


def choices_of(histories_dir: str) -> dict[str, Choice]:
  """Returns the choices that histories ask, in the order of the dataset file."""
  info = storage.read_json(f'{histories_dir}/dataset_info.json')
  words = (info.get('dataset') or {}).get('questions', {})
  asked = {name: questions.from_words(name, own) for name, own in words.items()}
  return {name: found for name, found in asked.items() if isinstance(found, Choice)}


def answered_choice(
  histories_dir: str, predictions_dir: str, predicted: Mapping[str, Any]
) -> Choice | None:
  """Returns the choice that a prediction table answers; None if it answers lists.

  The settings of the folder name it; of a folder without such a setting, the column
  `task` of the first row does. An empty table is taken to answer the first choice.

  Args:
    histories_dir: finished folder of the histories.
    predictions_dir: finished folder of the predictions.
    predicted: settings in `COMPLETED` of the predictions.

  Raises:
    JobError: the model has other options than the histories, so that its numbers would
      be of other options.
  """
  choices, asked = choices_of(histories_dir), predicted.get('question') or {}
  if not choices:
    return None
  if not asked:
    shards = read_shards(predictions_dir, predicted['format'])
    rows = (row for shard in shards for row in shard)
    asked = {'name': next(rows, {'task': next(iter(choices))})['task']}
  found = choices.get(asked['name'])
  if found and [*asked.get('options', found.options)] != [*found.options]:
    raise JobError(
      f'the predictions in {predictions_dir} choose among {asked["options"]}, the '
      f'examples in {histories_dir} among {[*found.options]}'
    )
  return found


def require_examples(histories_dir: str, question: Choice, split: str) -> None:
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


class PromptWriter:
  """Writes the prompts of examples."""

  def __init__(self, histories_dir: str, question: Choice):
    """Reads the columns of the items, if the prompt names any."""
    self._template, self._of_items = question.template, question.item_fields
    self._items = None
    if self._of_items:
      path = f'{histories_dir}/items.parquet'
      self._items = pq.read_table(path, columns=['fields'])['fields']

  def write(self, asked: int, fields: Mapping[str, Sequence[str]]) -> str:
    """Returns the prompt of an example.

    Args:
      asked: row of the asked item; -1 for none.
      fields: texts of the columns that the example brings itself.
    """
    values: dict[str, Any] = dict.fromkeys(self._of_items)
    if self._items is not None and asked >= 0:
      of_item = self._items[asked].as_py()
      values = {name: of_item[name] for name in self._of_items}
    own = {name: x[0] if len(x) == 1 else x for name, x in fields.items()}
    return self._template.write({**values, **own})
