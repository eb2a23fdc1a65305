"""Folders that look finished only when they are."""

import ast
import collections
import functools
import hashlib
import itertools
import pathlib
import threading
from concurrent import futures

import pytest

from pipelines.common import output_folder, storage
from pipelines.common.job import JobError

HALF = f'.tmp-{"0" * 32}'  # ends the name of a file that is being written


def folder(path, **settings):
  return output_folder.OutputFolder(str(path), settings)


def assert_empty(path):
  """Only a run that has just begun is there."""
  assert {pathlib.Path(name).name for name in files_in(path)} == {'UNFINISHED'}


def test_life_of_a_folder(tmp_path):
  output = folder(tmp_path / 'out', seed=0)
  assert output.begin()
  output.write_json('dataset_info.json', {'a': 'ü'})
  with pytest.raises(JobError, match=r'no COMPLETED in it\).*build_histories'):
    output_folder.require_finished(output.path, 'pipelines.build_histories')
  output.complete()
  output.complete()
  found = output_folder.require_finished(output.path, 'pipelines.build_histories')
  assert found['settings'] == {'seed': 0}
  assert found['files'] == ['dataset_info.json']
  with pytest.raises(JobError, match=r'no encoder_info.json in it\).*embed_items'):
    output_folder.require_finished(output.path, 'pipelines.embed_items')
  assert storage.read_json(output.file('dataset_info.json')) == {'a': 'ü'}
  assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
    'COMPLETED',
    'dataset_info.json',
  ]
  assert not output.begin()


def test_unfinished_is_cleaned(tmp_path):
  output = folder(tmp_path / 'out')
  output.begin()
  storage.write_file(output.file('part'), b'half')
  storage.write_file(output.file(f'part{HALF}'), b'half')
  assert output.begin()
  assert_empty(tmp_path / 'out')


def test_overwrite_and_other_settings(tmp_path):
  output = folder(tmp_path / 'out', seed=0)
  output.begin()
  storage.write_file(output.file('old'), b'x')
  output.complete()
  other = folder(tmp_path / 'out', seed=1)
  with pytest.raises(JobError, match='seed was 0 and is 1'):
    other.begin()
  assert other.begin(overwrite=True)
  assert_empty(tmp_path / 'out')


def test_foreign_files_are_safe(tmp_path):
  (tmp_path / 'thesis.tex').write_text('years of work')
  for overwrite in (False, True):
    with pytest.raises(JobError, match=r'thesis\.tex'):
      folder(tmp_path).begin(overwrite)
  assert (tmp_path / 'thesis.tex').exists()


def finished(path, *files):
  output = folder(path)
  output.begin()
  for name in files:
    storage.write_file(output.file(name), b'x')
  output.complete()
  return output


def test_a_file_that_came_later_is_safe(tmp_path):
  output = finished(tmp_path / 'out', 'ours')
  (tmp_path / 'out' / 'notes').mkdir()
  (tmp_path / 'out' / 'notes' / 'mine.txt').write_text('mine')
  with pytest.raises(JobError, match=r'mine\.txt'):
    output.begin(overwrite=True)
  assert not output.begin()
  for name in ('ours', 'notes/mine.txt', 'COMPLETED'):
    assert (tmp_path / 'out' / name).exists()


@pytest.mark.parametrize('text', ['', 'done', '[]', '{"seed": 0}'])
def test_the_marker_of_somebody_else(tmp_path, text):
  (tmp_path / 'COMPLETED').write_text(text)
  for overwrite in (False, True):
    with pytest.raises(JobError, match=r'PERSOMA did not write .*COMPLETED'):
      folder(tmp_path).begin(overwrite)
  assert (tmp_path / 'COMPLETED').read_text() == text


@pytest.mark.parametrize('deletions', [0, 1])
def test_a_job_cut_while_it_overwrites(tmp_path, monkeypatch, deletions):
  """Before COMPLETED goes, and before the files that it lists go."""
  output, left = finished(tmp_path / 'out', 'old'), [True] * deletions
  with monkeypatch.context() as patch:
    delete = storage.delete
    patch.setattr(storage, 'delete', lambda paths: left.pop() and delete(paths))
    with pytest.raises(IndexError):
      output.begin(overwrite=True)
  again = folder(tmp_path / 'out')
  assert again.begin() == (deletions == 1)
  assert again.begin(overwrite=True)
  assert_empty(tmp_path / 'out')


def test_a_job_cut_at_its_very_first_file(tmp_path):
  (tmp_path / f'UNFINISHED{HALF}').touch()
  assert folder(tmp_path).begin()
  assert_empty(tmp_path)


def test_halves_do_not_stay(tmp_path):
  output = folder(tmp_path / 'out')
  output.begin()
  storage.write_file(output.file(f'part{HALF}'), b'half')
  output.complete()
  assert [path.name for path in (tmp_path / 'out').iterdir()] == ['COMPLETED']


def files_in(path) -> dict[str, str]:
  """Path in the folder -> content, without COMPLETED."""
  return {
    str(file.relative_to(path)): file.read_text()
    for file in path.rglob('*')
    if file.is_file() and file.name != 'COMPLETED'
  }


def test_a_killed_job_does_not_take_what_came_later(tmp_path):
  """As in a folder of runs that was once given as --output_dir by mistake."""
  runs = tmp_path / 'runs'
  output = folder(runs)
  output.begin()
  storage.write_file(output.file('part'), b'half')
  finished(runs / 'good', 'table')
  for name in ('b.txt', 'thesis.tex', 'c.txt'):
    (runs / name).write_text('years of work')
  before = files_in(runs)
  for overwrite in (False, True):
    with pytest.raises(JobError, match=r'such as b\.txt, c\.txt, .* more'):
      folder(runs).begin(overwrite)
  assert files_in(runs) == before


@pytest.mark.parametrize('late', [f'table{HALF}', 'beam-temp-table-0a1b/1.table'])
def test_a_late_file_of_a_dead_worker_does_not_block(tmp_path, late):
  output = finished(tmp_path / 'out', 'table')
  storage.write_file(f'{tmp_path}/out/{late}', b'half')
  assert output.begin(overwrite=True)
  assert not (tmp_path / 'out' / 'table').exists()


def test_two_runs_never_mix(tmp_path):
  """The launcher of the first died; its workers go on while the second runs."""
  out = tmp_path / 'out'
  first, second = folder(out), folder(out)
  write = lambda run, name: storage.write_file(run.file(name), run.of.encode())
  for run, text in ((first, 'first'), (second, 'second')):
    object.__setattr__(run, 'of', text)
  first.begin()
  write(first, 'part-1')
  second.begin()
  write(second, 'part-2')
  write(first, 'part-2')
  with pytest.raises(JobError, match=r'out: a job has begun there again'):
    first.complete()
  assert not first.is_finished()
  second.complete()
  assert files_in(out) == {'part-2': 'second'}
  write(first, 'part-1')  # later still
  with pytest.raises(JobError, match='a job has begun there again'):
    first.complete()
  assert (out / 'part-2').read_text() == 'second'
  assert not (out / 'part-1').exists()
  assert storage.read_json(f'{out}/COMPLETED')['files'] == ['part-2']
  assert second.begin(overwrite=True)


class Turns:
  """Runs two functions in turns, which change before an access to the folder.

  The first function makes `before` accesses, then the second one `amid`, then the first
  one runs to its end, then the second one.
  """

  def __init__(self, before, amid):
    self.turns = [['first', before], ['second', amid], ['first', None]]
    self.changed, self.accesses = threading.Condition(), collections.Counter()

  def run(self, monkeypatch, first, second):
    pool = futures.ThreadPoolExecutor(1, 'second')
    with monkeypatch.context() as patch, pool:
      patch.setattr(output_folder, '_COPIES', 1)
      for name in ('list_files', 'read_json', 'write_file', 'delete'):
        patch.setattr(storage, name, self._hooked(getattr(storage, name)))
      other = pool.submit(self._to_end, 'second', second)
      return self._to_end('first', first), other.result()

  def _hooked(self, function):
    def call(*arguments):
      name = threading.current_thread().name
      self._wait('second' if name.startswith('second') else 'first')
      return function(*arguments)

    return call

  def _to_end(self, who, function):
    try:
      return function()
    finally:
      with self.changed:
        self.turns = [turn for turn in self.turns if turn[0] != who]
        self.changed.notify_all()

  def _wait(self, who):
    with self.changed:
      self.accesses[who] += 1
      if self.turns and self.turns[0] == [who, 0]:
        del self.turns[0]
        self.changed.notify_all()
      is_next = lambda: not self.turns or self.turns[0][0] == who
      assert self.changed.wait_for(is_next, timeout=10)
      if self.turns and self.turns[0][1]:
        self.turns[0][1] -= 1


def every_turns(path):
  """Yields all turns of two functions, each with the address of a new folder."""
  for before in itertools.count():
    for amid in itertools.count(1):
      turns = Turns(before, amid)
      yield turns, path / f'{before}-{amid}'
      if turns.accesses['second'] <= amid:
        break
    if turns.accesses['first'] < before:
      return


def try_to_complete(run) -> bool:
  try:
    run.complete()
  except (JobError, FileNotFoundError):
    return False
  return True


@pytest.mark.parametrize(
  ('how', 'certified'),
  [
    ({}, {'first', 'second'}),
    ({'overwrite': True}, {'second'}),
    ({'go_on': True}, {'first'}),
  ],
)
def test_a_run_that_begins_while_another_completes(
  tmp_path, monkeypatch, how, certified
):
  """At each access of both: one is completed, and nothing of the other is there."""
  found = set()
  for turns, out in every_turns(tmp_path):
    first, second = folder(out), folder(out)
    first.begin()
    for name in ('a', 'b'):
      storage.write_file(first.file(name), b'first')
    owner = first.owner

    def begin(second=second, owner=owner):
      if second.begin(**how) and second.owner != owner:
        storage.write_file(second.file('a'), b'second')
      return second.owner

    complete = functools.partial(try_to_complete, first)
    ended, begun = turns.run(monkeypatch, complete, begin)
    assert ended or begun
    assert not begun or try_to_complete(second)
    # Without --overwrite, what is finished stays.
    assert not ended or how.get('overwrite') or begun in ('', owner)
    kept = 'first' if begun in ('', owner) else 'second'
    names = {'first': ['a', 'b'], 'second': ['a']}[kept]
    assert files_in(out) == dict.fromkeys(names, kept)
    assert storage.read_json(f'{out}/COMPLETED')['files'] == names
    found.add(kept)
  assert found == certified


def test_machines_that_begin_at_the_same_moment(tmp_path, monkeypatch):
  """At each access of both: nothing of the run that goes on is deleted."""
  for turns, out in every_turns(tmp_path):
    machines = [folder(out), folder(out)]

    def begin(number, machines=machines):
      machines[number].begin(go_on=True)
      machines[number].rejoin()
      storage.write_file(machines[number].file(f'{number}'), b'x')
      return machines[number].owner

    owners = turns.run(monkeypatch, lambda: begin(0), lambda: begin(1))
    assert machines[0].rejoin()
    last = machines[0].owner
    machines[0].complete()
    wrote = [f'{at}' for at, owner in enumerate(owners) if owner == last]
    assert wrote
    assert files_in(out) == dict.fromkeys(wrote, 'x')


@pytest.mark.parametrize('deletions', range(3))
def test_a_job_cut_after_it_is_finished(tmp_path, monkeypatch, deletions):
  output, left = folder(tmp_path), [True] * deletions
  output.begin()
  storage.write_file(output.file('part'), b'x')
  delete = storage.delete

  def cut(paths):
    if (tmp_path / 'COMPLETED').exists():
      left.pop()
    delete(paths)

  with monkeypatch.context() as patch:
    patch.setattr(storage, 'delete', cut)
    with pytest.raises(IndexError):
      output.complete()
  assert not folder(tmp_path).begin()
  assert files_in(tmp_path) == {'part': 'x'}


def test_processes_that_resume_are_one_run(tmp_path):
  """As machines that share a folder, or a command that was started again."""
  out = tmp_path / 'out'
  runs = [folder(out) for _ in range(3)]
  for number, run in enumerate(runs):
    assert run.begin(go_on=True)
    storage.write_file(run.file(f'part-{number}'), b'x')
  assert len({run.begun_at() for run in runs}) == 1
  for run in runs:
    run.complete()
  assert files_in(out) == dict.fromkeys(('part-0', 'part-1', 'part-2'), 'x')


def test_processes_that_begin_at_the_same_moment(tmp_path, monkeypatch):
  """Each sees an empty folder; all work for the one that wrote its marker last."""
  machines = [folder(tmp_path / 'out') for _ in range(3)]
  with monkeypatch.context() as patch:
    patch.setattr(storage, 'read_json', lambda _: {})
    for machine in machines:
      machine.begin(go_on=True)
  for number, machine in enumerate(machines):
    assert machine.rejoin()
    storage.write_file(machine.file(f'part-{number}'), b'x')
  machines[0].complete()
  assert len(files_in(tmp_path / 'out')) == 3


def test_another_run_is_noticed_before_the_work(tmp_path):
  first, other = folder(tmp_path / 'out'), folder(tmp_path / 'out', seed=1)
  first.begin(go_on=True)
  other.begin(go_on=True)
  with pytest.raises(JobError, match='a job has begun there again'):
    first.begun_at()


def test_every_job_names_itself():
  """Else another job could overwrite its folders."""
  found = []
  for path in pathlib.Path(output_folder.__file__).parents[1].rglob('*.py'):
    text = path.read_text()
    for node in ast.walk(ast.parse(text)) if 'OutputFolder(' in text else ():
      if isinstance(node, ast.Call) and ast.unparse(node.func).endswith('OutputFolder'):
        found.append((path.name, len(node.args)))
  assert len(found) == 6
  assert {count for _, count in found} == {3}


@pytest.mark.parametrize('name', ['./out', 'out/', 'a/../out', 'out[1]', 'out *?'])
def test_names_of_folders(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'a').mkdir()
  output = finished(name, 'ours')
  assert not output.begin()
  assert output.begin(overwrite=True)
  assert not (tmp_path / name / 'ours').exists()


def test_checksum(tmp_path):
  (tmp_path / 'file').write_bytes(b'abc')
  expected = hashlib.sha256(b'abc').hexdigest()
  assert storage.file_checksum(str(tmp_path / 'file')) == f'sha256:{expected}'
