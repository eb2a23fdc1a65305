"""What is told of folders that our jobs write, against what other readers find."""

import gzip
import json

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from persoma_tf.parameters import checkpoints
from pipelines.inspect import __main__ as command
from pipelines.inspect import folder_contents, printed


def records(folder, split) -> list[bytes]:
  files = sorted(str(x) for x in folder.glob(f'{split}-*'))
  data = tf.data.TFRecordDataset(files, 'GZIP' if files[0].endswith('.gz') else '')
  return [x.numpy() for x in data]


def test_histories(folders_of_jobs):
  histories, _ = folders_of_jobs
  found = folder_contents.describe_folder(str(histories), examples=2)
  assert (found['kind'], found['state']) == ('histories', 'finished')
  assert 'damaged' not in found
  info = json.loads((histories / 'dataset_info.json').read_text())
  assert found['info']['dataset_info.json'] == info
  table = next(x for name, x in found['tables'].items() if name.startswith('train'))
  wanted = records(histories, 'train')
  assert table['records'] == len(wanted) == info['counts']['users']['train']
  assert len(table['examples']) == 2
  features = tf.train.Example.FromString(wanted[0]).features.feature
  assert table['fields'].keys() == features.keys()
  ids = features['user_id'].bytes_list.value[0].decode()
  assert table['examples'][0]['user_id'] == [ids]


def test_embeddings(folders_of_jobs):
  _, embeddings = folders_of_jobs
  found = folder_contents.describe_folder(str(embeddings))
  assert (found['kind'], found['state']) == ('embeddings', 'finished')
  rows = pq.read_metadata(embeddings / 'embeddings.parquet').num_rows
  assert found['tables']['embeddings.parquet']['records'] == rows


@pytest.fixture
def folders_of_jobs(request):
  return request.getfixturevalue('folders')


def test_a_checkpoint_and_an_adapter(tmp_path):
  params = {'adapter': {'w': np.ones((3, 4), np.float32)}, 'decoder': {'b': np.ones(5)}}
  manager = checkpoints.manager(str(tmp_path))
  checkpoints.save(manager, 7, params, {'m': np.zeros(2, np.float32)})
  flat = {'adapter/w': params['adapter']['w']}
  checkpoints.save_adapter(str(tmp_path), flat, {'model_id': 'persoma-7'})
  (tmp_path / 'config.gin').write_text('train.seed = 3\n')
  found = folder_contents.describe_folder(str(tmp_path))
  assert found['kind'] == 'model'
  assert found['state'].startswith('NOT FINISHED')
  assert found['configuration'] == {'train.seed': 3}
  point = found['checkpoints']['checkpoint_7']
  assert (point['parameters'], point['groups']) == (17, {'adapter': 12, 'decoder': 5})
  assert point['arrays']['adapter/w'] == 'float32 [3, 4]'
  assert found['adapter']['manifest'] == {'model_id': 'persoma-7'}
  assert found['adapter']['parameters'] == 12
  (tmp_path / 'config.gin').write_text('train.stages = [')
  cut = folder_contents.describe_folder(str(tmp_path))
  assert 'config.gin: damaged: not valid gin' in cut['damaged'][0]
  assert cut['adapter'] == found['adapter']
  alone = folder_contents.describe_folder(str(tmp_path / 'checkpoint_7'))
  assert (alone['kind'], alone['checkpoints']['checkpoint_7']) == ('checkpoint', point)
  assert (
    folder_contents.describe_folder(str(tmp_path / 'adapter'))['adapter']
    == found['adapter']
  )


def test_many_arrays_are_not_all_shown():
  shapes = {f'layer_{number}/w': [2, 3] for number in range(9)}
  about = {'path': 'p', 'kind': 'predictions', 'state': 'finished', 'bytes': 1}
  shown = printed.format_folder(
    about | {'info': {'run': {'parameters': shapes, 'users': 3}}}
  )
  assert 'layer_5/w: [2, 3]' in shown
  assert 'layer_6' not in shown
  assert '… and 3 more; --json has them all' in shown
  assert 'users: 3' in shown


def write(path, rows):
  if path.suffix == '.parquet':
    pq.write_table(pa.Table.from_pylist(rows), path)
  elif path.suffix == '.avro':
    fields = [{'name': 'user_id', 'type': ['null', 'string']}]
    fields += [{'name': 'n', 'type': 'long'}]
    with path.open('wb') as file:
      schema = {'type': 'record', 'name': 'row', 'fields': fields}
      fastavro.writer(file, fastavro.parse_schema(schema), rows)
  else:
    text = ''.join(json.dumps(row) + '\n' for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == '.gz' else text)


@pytest.mark.parametrize('suffix', ['parquet', 'avro', 'jsonl', 'jsonl.gz'])
def test_tables(tmp_path, suffix):
  """Two shards, one without rows; then one of them is gone, then one is damaged."""
  rows = [{'user_id': f'u{n}', 'n': n} for n in range(5)]
  paths = [tmp_path / f'predictions-{n:05d}-of-00002.{suffix}' for n in range(2)]
  write(paths[0], rows)
  write(paths[1], rows[:0] if 'parquet' not in suffix else rows[:1])
  found = folder_contents.describe_folder(str(tmp_path), examples=4)
  assert 'damaged' not in found
  table = found['tables'][f'predictions.{suffix.split(".")[0]}']
  assert table['records'] == (6 if 'parquet' in suffix else 5)
  assert table['examples'] == rows[:4]
  assert {'user_id', 'n'} == table['fields'].keys()
  paths[1].unlink()
  assert '1 of 2 shards' in folder_contents.describe_folder(str(tmp_path))['damaged'][0]
  write(paths[1], rows)
  content = paths[0].read_bytes()
  paths[0].write_bytes(content[: len(content) // 2])
  damaged = folder_contents.describe_folder(str(tmp_path))['damaged']
  assert len(damaged) == 1
  assert damaged[0].startswith(str(paths[0]))


def test_markers(tmp_path):
  (tmp_path / 'dataset_info.json').write_text('{}')
  assert (
    folder_contents.describe_folder(str(tmp_path))['state']
    == 'NOT FINISHED: no file COMPLETED'
  )
  (tmp_path / 'COMPLETED').write_text('{"files": ["items.parquet"]}')
  found = folder_contents.describe_folder(str(tmp_path))
  assert found['state'] == 'finished'
  assert found['damaged'] == [
    f'{tmp_path / "items.parquet"}: missing, but listed in COMPLETED'
  ]


def test_an_empty_folder(tmp_path):
  found = folder_contents.describe_folder(str(tmp_path))
  assert found == {
    'path': str(tmp_path),
    'kind': 'folder',
    'bytes': 0,
    'state': 'no job folder',
  }


def test_what_is_not_there(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such file or folder'):
    folder_contents.describe_folder(str(tmp_path / 'none'))
  with pytest.raises(ValueError, match='only local paths'):
    folder_contents.describe_folder('gs://bucket/histories')


def test_the_command(folders_of_jobs, tmp_path, capsys):
  histories, _ = folders_of_jobs
  with pytest.raises(SystemExit) as left:
    command.main([str(histories), '--records=1'])
  assert left.value.code == 0
  shown = capsys.readouterr().out
  assert shown.startswith(f'{histories}: histories, finished')
  (tmp_path / 'metrics.json').write_text('{')
  with pytest.raises(SystemExit) as left:
    command.main([str(tmp_path), '--json'])
  assert left.value.code == 1
  (found,) = json.loads(capsys.readouterr().out)
  assert 'damaged' in found['damaged'][0]
  with pytest.raises(SystemExit):
    command.main([])
  assert 'expected either paths, --dataset, --gin_file, or ' in capsys.readouterr().err
