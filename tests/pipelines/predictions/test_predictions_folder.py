"""The end of a predictions job: what is counted, whatever the folder is called."""

import json

import numpy as np
import pytest

from pipelines.common import job, output_folder, storage
from pipelines.predictions import answer_shards, predictions_folder
from pipelines.predictions.prediction_files import read_predictions, to_bytes
from tests import predictions


@pytest.mark.parametrize('kind', ['parquet', 'json', 'avro'])
def test_the_folder_may_be_called_as_its_files_are(tmp_path, kind):
  """Rejects and soft prompts lie beside the table in the same formats."""
  folder = output_folder.OutputFolder(str(tmp_path / 'predictions-v1'), {})
  folder.begin()
  shard = answer_shards.AnswerShard(0, 1, '', 0, 4)
  rows = [{**row, 'log_prob': -1.0} for row in predictions.rows(3)]
  reject = job.reject('batch_predict', 'not_answerable', user_id='u')
  soft = answer_shards.soft_prompts_file(
    {'user_id': ['a', 'b', 'c']}, np.ones((3, 1, 1)), {}
  )
  for name, data in {
    shard.file(kind): to_bytes(rows, kind),
    'rejects-00000-of-00001.jsonl': json.dumps(reject).encode() + b'\n',
    'soft_prompts-00000-of-00001.parquet': soft,
    'predictions-notes.parquet': b'mine',
    'rejects-notes.jsonl': b'mine\n',
  }.items():
    storage.write_file(folder.file(name), data)
  predictions_folder.finish_predictions(folder, [shard], kind)
  info = storage.read_json(folder.file('run_info.json'))
  assert (info['users'], info['rejects']) == (3, 1)
  found = [row['user_id'] for row in read_predictions(folder.path, kind)]
  assert found == [row['user_id'] for row in rows]
