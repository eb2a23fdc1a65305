"""What a training may delete, and where it may write."""

import fcntl
import os

import pytest

from persoma_tf.training import run_folder

OF_A_RUN = (
  'config.gin',
  'COMPLETED',
  'metrics.jsonl',
  'events.out.tfevents.1.host.2.v2',
  'checkpoint_10/state/manifest.ocdbt',
  'checkpoint_12.orbax-checkpoint-tmp/state/d/1',
  'adapter/adapter.safetensors',
  'adapter/manifest.json',
  'adapter/README.md',
  'adapter/manifest.json.tmp',
)


@pytest.fixture
def run(tmp_path):
  """The folder of a run."""
  for name in OF_A_RUN:
    write(tmp_path / 'model' / name)
  return tmp_path / 'model'


def write(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text('')


def files(folder) -> set[str]:
  return {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()}


def test_all_of_a_run_is_deleted(run):
  run_folder.delete_run(run)
  assert files(run) == set()


@pytest.mark.parametrize(
  ('other', 'named'),
  [
    ('thesis.tex', 'thesis.tex'),
    ('good/config.gin', 'good'),
    ('adapter/notes.txt', 'adapter/notes.txt'),
    ('checkpoint_best/state', 'checkpoint_best'),
  ],
)
def test_nothing_is_deleted_beside_other_files(run, other, named):
  write(run / other)
  with pytest.raises(ValueError, match=f'such as {named};'):
    run_folder.delete_run(run)
  assert files(run) == {*OF_A_RUN, other}


@pytest.mark.parametrize('marker', ['COMPLETED', 'UNFINISHED'])
def test_the_folder_of_another_job_is_no_run(tmp_path, marker):
  """Else it would pass for a training that is finished."""
  write(tmp_path / marker)
  with pytest.raises(ValueError, match=f'is no folder of a training: it has {marker}'):
    run_folder.check_config(tmp_path)


def test_one_process_at_a_time(run):
  other = os.open(run, os.O_RDONLY)
  fcntl.flock(other, fcntl.LOCK_EX)
  for attempt in (run_folder.write_config, run_folder.delete_run):
    with pytest.raises(ValueError, match='another process trains in this folder'):
      attempt(run)
  assert files(run) == set(OF_A_RUN)
  os.close(other)  # as when the process ends
  run_folder.write_config(run)
  run_folder.write_config(run)
