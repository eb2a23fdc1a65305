"""Loads a finished predictions folder into a BigQuery table, by one load job.

    python -m pipelines.load_predictions --predictions_dir=gs://bucket/predictions \
      --bigquery_table=project:dataset.table [--bigquery_location=EU]

BigQuery reads a folder in a bucket directly; a local folder is uploaded. A missing
table is created: one partition per day of `predicted_at`, clustered by `user_id`.
Loading the same folder again changes nothing. Of a folder of several questions, each
question is loaded into a table of its own, `project:dataset.table_<question>`.
"""

import dataclasses
from collections.abc import Sequence

from pipelines.common import flags
from pipelines.common.flags import flag, path_flag
from pipelines.predictions.table_name import TableName, table_of


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  predictions_dir: str = path_flag('finished folder of batch_predict or t5x_answers')
  bigquery_table: str = flag('table to load into, as project:dataset.table')
  bigquery_location: str = flag('expected location of the dataset, such as EU', '')

  def __post_init__(self):
    TableName.parse(self.bigquery_table)


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and loads the folder.

  Raises:
    JobError: the folder or the table is unusable.
  """
  config = flags.parse(Config, argv, __doc__)
  from pipelines.predictions.bigquery_load import load_folder  # Google's clients
  from pipelines.predictions.prediction_files import folders_of_questions

  for question, folder in folders_of_questions(config.predictions_dir).items():
    table = table_of(config.bigquery_table, question)
    load_folder(folder, table, config.bigquery_location)


if __name__ == '__main__':
  from pipelines import load_predictions
  from pipelines.common import job

  job.main(load_predictions.run)
