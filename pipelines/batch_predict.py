"""Histories to a prediction table, with a trained soft prompt and a frozen decoder.

    python -m pipelines.batch_predict --model_dir=model --histories_dir=histories \
      --embeddings_dir=embeddings --output_dir=predictions [--split=test ...] \
      [--format=avro|parquet|json] [--runner=DataflowRunner ...]

Writes `predictions-*` (a file for every `--shard_users` users), `rejects-*.jsonl` where
there are any, `bigquery_schema.json` and `run_info.json`. A run that was stopped
continues with the missing shards. `--shard=0/4` answers a quarter of them, for machines
that share a folder and have no Beam runner; the last machine completes the folder.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from persoma_tf.inference.decoding import WEIGHTS, Decoding
from pipelines.common import flags
from pipelines.common.flags import flag
from pipelines.predictions.table_name import TableName
from tasks.schema import PREDICTION_FORMATS, SPLITS


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  model_dir: str = flag('folder of a finished training')
  histories_dir: str = flag('finished folder of build_histories')
  embeddings_dir: str = flag('finished folder of embed_items')
  output_dir: str = flag('folder to write')
  overwrite: bool = flag('write a finished or half-written folder again', False)
  split: Literal[(*SPLITS, 'all')] = flag('split whose users are answered', 'test')
  format: Literal[PREDICTION_FORMATS] = flag('format of the table', 'avro')
  run_id: str = flag("value of the column run_id; '': a hash of the inputs", '')
  constrained: bool = flag('write only answers that can be read back', True)
  beams: int = flag('above 1: search for the most probable answer', 1)
  temperature: float = flag('above 0: draw tokens', 0.0)
  seed: int = flag('seed of the drawn tokens', 0)
  weights: Literal[WEIGHTS] = flag("type of the decoder's weights", 'float32')
  soft_prompts: bool = flag("write every user's soft prompt too, as Parquet", False)
  shard_users: int = flag('users in a file of the table', 1000)
  shard: str = flag('i/n: answer only the i-th of n shares, counted from 0', '')
  batch_size: int = flag('users that are answered together', 64)
  batch_tokens: int = flag(
    'tokens that are answered together, for histories as text', 8192
  )
  bigquery_table: str = flag(
    'project:dataset.table to load the finished folder into', ''
  )
  share_model: bool = flag('one model for all worker processes of a machine', False)

  def __post_init__(self):
    for name in ('batch_size', 'batch_tokens', 'shard_users'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)}: expected at least 1')
    if self.bigquery_table:
      TableName.parse(self.bigquery_table)
    self.share  # noqa: B018  raises where it cannot be read
    self.decoding  # noqa: B018

  @property
  def decoding(self) -> Decoding:
    """Returns how answers are written."""
    names = [field.name for field in dataclasses.fields(Decoding)]
    return Decoding(**{name: getattr(self, name) for name in names})

  @property
  def share(self) -> tuple[int, int]:
    """Returns (i, n) of `shard`."""
    number, _, total = (self.shard or '0/1').partition('/')
    if not (number.isdecimal() and total.isdecimal() and int(number) < int(total)):
      raise ValueError(f'shard={self.shard!r}: expected i/n with i < n, such as 0/4')
    return int(number), int(total)


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are not as they should be.
  """
  config, beams = flags.parse_with_beam(Config, argv, __doc__)
  options = flags.beam_options(config, beams)
  from pipelines.predictions import predictions_job  # imports Beam

  predictions_job.run_job(config, options)


if __name__ == '__main__':
  from pipelines import batch_predict
  from pipelines.common import job

  job.main(batch_predict.run)
