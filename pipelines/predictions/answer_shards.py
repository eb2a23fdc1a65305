"""Answers and writes the shards of the prediction table.

The users and the file names of a shard depend only on the histories and on
`shard_users`. A shard is done when its file of the table exists: rejects and soft
prompts are written before this file. So an interrupted run resumes with the missing
shards, and machines that share a folder can divide the shards.
"""

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler

from pipelines.common import job, output_folder, storage, tfrecord
from pipelines.histories import history_records
from pipelines.predictions import prediction_files
from tasks import schema

_INFO = ('items.parquet', 'dataset_info.json')
# Folder -> whether the predictor reads the file of this name when it is constructed.
_READ = {
  'model_dir': lambda name: name == 'config.gin' or name.startswith('adapter/'),
  'histories_dir': lambda name: name in (*_INFO, output_folder.COMPLETED),
  'embeddings_dir': lambda name: True,
}


class AnswerShard(NamedTuple):
  """Describes a shard: a range of users in one file of histories.

  Attributes:
    number: number of the shard, counted from 0.
    total: number of shards.
    path: file of histories; '' for a shard without users.
    first: position of the first user in the file.
    users: number of users.
    question: name of the question that is asked; '' for the only one of the model.
  """

  number: int
  total: int
  path: str
  first: int
  users: int
  question: str = ''

  def file(self, kind: str) -> str:
    """Returns the name of the shard's file of the table; `kind` is a format."""
    return prediction_files.shard_name(kind, self.number, self.total)

  def beside(self, table: str, ending: str) -> str:
    """Returns the name of the shard's file of another table."""
    return f'{table}-{self.number:05}-of-{self.total:05}{ending}'

  def records(self) -> list[bytes]:
    """Reads the serialized histories of the shard."""
    if not self.path:
      return []
    records = enumerate(tfrecord.read_tfrecord(self.path))
    return [x for place, x in records if 0 <= place - self.first < self.users]


class AnsweredShard(NamedTuple):
  """Holds the answers of a shard.

  Attributes:
    shard: the shard that was answered.
    rows: rows of the table, without the columns of the run.
    rejects: records of `job.reject`; every user is in `rows` or in `rejects`.
    soft_prompts: [rows, K, D] float32, or None if not requested.
    limits: what the answers behind them are kept to; None if not requested.
    tokens: number of generated tokens.
    seconds: wall time in seconds.
  """

  shard: AnswerShard
  rows: list[dict[str, Any]]
  rejects: list[dict]
  soft_prompts: np.ndarray | None
  limits: Mapping[str, Any] | None
  tokens: int
  seconds: float


def plan_shards(
  paths: Iterable[str], shard_users: int, question: str = ''
) -> list[AnswerShard]:
  """Divides files of histories into shards; without users there is one empty shard."""
  cuts = []
  for path in paths:
    users = tfrecord.count_records(path)
    for first in range(0, users, shard_users):
      cuts.append((path, first, min(shard_users, users - first)))
  cuts = cuts or [('', 0, 0)]
  return [
    AnswerShard(number, len(cuts), *cut, question) for number, cut in enumerate(cuts)
  ]


class AnswerHandler(ModelHandler[AnswerShard, AnsweredShard, Any]):
  """Loads the model once per worker; an element is a shard."""

  def __init__(self, config, questions: Sequence[str] = ()):
    """Takes the job's flags and the names of the questions; () for the model's."""
    super().__init__(max_batch_size=1)  # the predictor makes batches
    self._config, self._questions = config, questions

  def load_model(self):
    """Loads the predictor."""
    from tasks.predictor import Predictor  # JAX and TensorFlow, on workers only

    config = self._config
    with tempfile.TemporaryDirectory() as space:  # for the files of buckets
      read = lambda name: storage.fetched(
        getattr(config, name), _READ[name], f'{space}/{name}'
      )
      return Predictor(
        *map(read, _READ),
        config.batch_size,
        config.decoding,
        config.batch_tokens,
        config.trusted,
        config.vllm_python if config.engine == 'vllm' else '',
        self._questions,
        config.drafts,
      )

  def share_model_across_processes(self) -> bool:
    """Tells whether the worker processes of a machine share one model."""
    return self._config.share_model

  def run_inference(self, batch, model, inference_args=None) -> Iterator[AnsweredShard]:
    """Answers every shard."""
    for shard in batch:
      predictor = model.asking(shard.question)
      yield answer_shard(shard, predictor, self._config.soft_prompts)


def answer_shard(shard: AnswerShard, predictor, soft_prompts: bool) -> AnsweredShard:
  """Answers a shard with a `tasks.predictor.Predictor`."""
  started, histories, rejects = time.monotonic(), [], []
  for place, record in enumerate(shard.records(), start=shard.first):
    where = {'file': shard.path, 'line': place + 1}
    try:
      history = history_records.decode_example(record, predictor.kinds)
    except ValueError as error:
      rejects.append(_reject('not_a_history', where, str(error)))
      continue
    if problem := predictor.problem(history):
      where |= {name: history[name] for name in ('user_id', predictor.key)}
      rejects.append(_reject('not_answerable', where, problem))
    else:
      histories.append(history)
  answers = predictor.predict(histories) if histories else []
  soft = limits = None
  if histories and soft_prompts:
    soft, limits = predictor.soft_prompts(histories), predictor.limits()
  rows, tokens = [x.row for x in answers], sum(x.tokens for x in answers)
  took = time.monotonic() - started
  return AnsweredShard(shard, rows, rejects, soft, limits, tokens, took)


def _reject(reason, where, value):
  expected = 'a history of pipelines.build_histories, of the same items as embeddings'
  return job.reject('batch_predict', reason, **where, value=value, expected=expected)


class Table(NamedTuple):
  """Holds what the shards of a question become part of.

  Attributes:
    folder: folder of the table.
    constants: columns that are the same in all rows.
  """

  folder: output_folder.OutputFolder
  constants: Mapping[str, Any]


class WriteAnswers(beam.DoFn):
  """Writes the files of a shard, the file of the table last, and counts users."""

  def __init__(self, tables: Mapping[str, 'Table'], kind: str):
    """Takes the table of each question, and the format."""
    self._tables, self._kind = tables, kind

  def process(self, element: AnsweredShard) -> Iterator[list[dict]]:
    """Writes the files and yields the rows."""
    shard = element.shard
    folder, constants = self._tables[shard.question]
    _write_aside(folder, element)
    rows = [{**row, **constants} for row in element.rows]
    columns = schema.prediction_columns(folder.settings.get('question'))
    data = prediction_files.to_bytes(rows, self._kind, columns)
    storage.write_file(folder.file(shard.file(self._kind)), data)
    failures = sum(not row['parse_ok'] for row in rows)
    counts = {
      'users': len(rows),
      'rejects': len(element.rejects),
      'tokens': element.tokens,
      'parse_failures': failures,
    }
    for name, count in counts.items():
      Metrics.counter('batch_predict', name).inc(count)
    milliseconds = round(1000 * element.seconds)
    Metrics.distribution('batch_predict', 'part_milliseconds').update(milliseconds)
    yield element.rows


def _write_aside(folder, element):
  if element.rejects:
    write_rejects(folder, element.shard, element.rejects)
  if element.soft_prompts is not None:
    path = folder.file(element.shard.beside('soft_prompts', '.parquet'))
    keys = ('user_id', *('example_id',) * ('question' in folder.settings))
    ids = {key: [row[key] for row in element.rows] for key in keys}
    data = soft_prompts_file(ids, element.soft_prompts, element.limits)
    storage.write_file(path, data)


def write_rejects(
  folder: output_folder.OutputFolder, shard: AnswerShard, rejects: Sequence[dict]
) -> None:
  """Writes the rejects of a shard, a line each."""
  lines = [json.dumps(x, ensure_ascii=False) + '\n' for x in rejects]
  path = folder.file(shard.beside('rejects', '.jsonl'))
  storage.write_file(path, ''.join(lines).encode())


def soft_prompts_file(
  ids: Mapping[str, Sequence[str]],
  soft_prompts: np.ndarray,
  limits: Mapping[str, Any],
) -> bytes:
  """Returns a Parquet file of soft prompts, with K, D and the limits in its metadata.

  Args:
    ids: name of a column -> R ids: of users, and of examples.
    soft_prompts: [R, K, D] float32.
    limits: `tasks.predictor.Predictor.limits`.
  """
  _, tokens, width = soft_prompts.shape
  flat = pa.array(np.ascontiguousarray(soft_prompts, np.float32).ravel())
  column = pa.FixedSizeListArray.from_arrays(flat, tokens * width)
  columns = {name: pa.array(texts, pa.string()) for name, texts in ids.items()}
  table = pa.table({**columns, 'soft_prompt': column})
  about = {'num_tokens': tokens, 'width': width, **limits}
  about = {name: json.dumps(value) for name, value in about.items()}
  return storage.to_parquet(table.replace_schema_metadata(about))
