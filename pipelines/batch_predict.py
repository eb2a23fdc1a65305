"""Writes a prediction table from histories, with a trained soft prompt and a decoder.

    python -m pipelines.batch_predict --model_dir=model --histories_dir=histories \
      --embeddings_dir=embeddings --output_dir=predictions [--split=test ...] \
      [--format=avro|parquet|json] [--runner=DataflowRunner ...]

Writes `predictions-*` (a file for every `--shard_users` users), `rejects-*.jsonl` if
there are rejects, `bigquery_schema.json` and `run_info.json`. The same command resumes
an interrupted run with its missing shards. For several machines that share a folder
and have no Beam runner, `--shard=0/4` answers a quarter of the shards; the machine that
ends last completes the folder.

A model of several questions answers all of them, or those of
`--questions=like_v1,stars_v1`: `predictions/like_v1` and `predictions/stars_v1` are
then folders as above.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from persoma_tf.inference.decoding_settings import ENGINES, WEIGHTS, Decoding
from pipelines.common import flags
from pipelines.common.flags import flag, path_flag
from pipelines.common.places import WORKERS
from pipelines.predictions.table_name import TableName, check_run_id
from tasks.schema import PREDICTION_FORMATS, SPLITS


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  model_dir: str = path_flag('folder of a finished training', place=WORKERS)
  histories_dir: str = path_flag('finished folder of build_histories', place=WORKERS)
  embeddings_dir: str = path_flag('finished folder of embed_items', place=WORKERS)
  output_dir: str = path_flag('folder to write', place=WORKERS)
  overwrite: bool = flag('write a finished or unfinished folder again', False)
  split: Literal[(*SPLITS, 'all')] = flag('split whose users get an answer', 'test')
  questions: str = flag(
    "names of questions to answer, with commas, each in a folder of its own; 'all': "
    "those of the model; '': likewise, but an only one in the output folder itself",
    '',
  )
  drafts: bool = flag(
    'let soft prompts have the drafts of answers; without, the decoder reads the user '
    'tokens alone, and can be asked questions that the model was not trained on',
    True,
  )
  format: Literal[PREDICTION_FORMATS] = flag('format of the table', 'avro')
  run_id: str = flag("value of the column run_id; '': a hash of the inputs", '')
  constrained: bool = flag('allow only answers that the parser can read', True)
  beams: int = flag('number of beams; above 1: beam search', 1)
  temperature: float = flag(
    'sampling temperature; 0: choose the most probable token', 0.0
  )
  seed: int = flag('seed for sampling with a temperature', 0)
  weights: Literal[WEIGHTS] = flag(
    "number type of the decoder's weights; auto: bfloat16 if the processor of the "
    'launching machine has units for it, else float32',
    'auto',
  )
  scored_options: int = flag(
    'number of options of a choice whose probabilities the decoder tells, of more the '
    'most probable ones of the draft; 0: none',
    32,
  )
  engine: Literal[ENGINES] = flag(
    'what runs the decoder: jax, or vllm in a process of its own', 'jax'
  )
  vllm_python: str = flag(
    'with engine=vllm: Python of an environment with vLLM, on every worker',
    '.venv-vllm/bin/python',
  )
  soft_prompts: bool = flag("write every user's soft prompt too, as Parquet", False)
  shard_users: int = flag('number of users in a file of the table', 1000)
  shard: str = flag('i/n: answer only the i-th of n shares, counted from 0', '')
  batch_size: int = flag('number of users in a batch', 64)
  batch_tokens: int = flag(
    'number of tokens in a batch, for a model that reads histories as text', 8192
  )
  bigquery_table: str = flag(
    'table to load the finished folder into, as project:dataset.table', ''
  )
  trusted_modules: str = flag(
    "modules of yours that the model's config.gin may import, with commas", ''
  )
  share_model: bool = flag('share one model among the worker processes', False)

  def __post_init__(self):
    for name in ('batch_size', 'batch_tokens', 'shard_users'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)}: expected at least 1')
    if self.bigquery_table:
      TableName.parse(self.bigquery_table)
    check_run_id(self.run_id)
    self.share  # noqa: B018  raises if it cannot be parsed
    self.decoding.check_engine(self.engine)

  @property
  def trusted(self) -> list[str]:
    """Returns the modules of the flag `trusted_modules`."""
    return flags.split_names(self.trusted_modules)

  @property
  def decoding(self) -> Decoding:
    """Returns the settings of the decoding."""
    names = [field.name for field in dataclasses.fields(Decoding)]
    return Decoding(**{name: getattr(self, name) for name in names})

  @property
  def share(self) -> tuple[int, int]:
    """Returns (i, n) of the flag `shard`."""
    number, _, total = (self.shard or '0/1').partition('/')
    if not (number.isdecimal() and total.isdecimal() and int(number) < int(total)):
      raise ValueError(f'shard={self.shard!r}: expected i/n with i < n, such as 0/4')
    return int(number), int(total)


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are unusable.
  """
  config, beams = flags.parse_with_beam(Config, argv, __doc__)
  options = flags.beam_options(config, beams)
  from pipelines.predictions import predictions_job  # imports Beam

  predictions_job.run_job(config, options)


if __name__ == '__main__':
  from pipelines import batch_predict
  from pipelines.common import job

  job.main(batch_predict.run)
