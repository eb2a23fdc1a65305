"""One user's records, found in the shard that can have them."""

import json

import pytest

from pipelines.common.job import JobError
from pipelines.histories import history_records, user_records
from tasks import schema
from tests import choices
from tests.histories import build

LAYOUT = {'train_fraction': 1.0, 'validation_fraction': 0.0, 'num_shards': 3, 'seed': 0}


@pytest.fixture(scope='module')
def sharded(tiny, tmp_path_factory):
  """Histories of 40 users in seven files."""
  folder = tmp_path_factory.mktemp('sharded') / 'histories'
  build(tiny, folder, '--num_shards=4', '--train_fraction=0.6')
  return str(folder)


def test_every_user_is_found_in_the_own_shard(sharded):
  files, users = history_records.list_history_files(sharded), 0
  assert len(files) > 6
  for path in files:
    for history in history_records.read_history_file(path):
      own = user_records.files_of_user(sharded, history['user_id'])
      assert path in own
      assert len(own) < len(files) / 2
      ((split, found),) = user_records.read_user_records(sharded, history['user_id'])
      assert f'/{split}-' in path
      assert str(found) == str(history)
      users += 1
  assert users == 40


def test_examples_that_are_split_by_time_have_the_shard_of_their_user(tmp_path):
  folder = tmp_path / 'questions' / 'like_v1'
  folder.mkdir(parents=True)
  (tmp_path / 'dataset_info.json').write_text(json.dumps(LAYOUT))
  for split in schema.SPLITS:
    for shard in range(3):
      (folder / f'{split}-{shard:05}-of-00003.tfrecord').touch()
  ends = set()
  for user in map(str, range(20)):
    paths = user_records.files_of_user(str(tmp_path), user, 'like_v1')
    assert [path.rpartition('/')[2].partition('-')[0] for path in paths] == [
      *sorted(schema.SPLITS)
    ]
    (end,) = {path.rpartition('/')[2].partition('-')[2] for path in paths}
    ends.add(end)
  assert len(ends) == 3


def test_files_of_another_layout_are_all_read(choice_folder):
  """The small examples are in two files a split, the users' histories in one."""
  folder, examples = choice_folder
  user = examples['test'][0]['user_id']
  wanted = [x['example_id'] for x in examples['test'] if x['user_id'] == user]
  kinds = schema.example_kinds(choices.WORDS['fields'])
  found = user_records.read_user_records(
    f'{folder}/histories', user, kinds, choices.NAME
  )
  assert [(split, x['example_id']) for split, x in found] == [
    ('test', name) for name in wanted
  ]


def test_a_user_who_is_not_there(sharded, choice_folder):
  wanted = r"has no history of user '1x': expected the id of a user who has one, such"
  with pytest.raises(JobError, match=wanted):
    user_records.read_user_records(sharded, '1x')
  kinds = schema.example_kinds(choices.WORDS['fields'])
  folder, known = f'{choice_folder[0]}/histories', choice_folder[1]['test'][0]
  with pytest.raises(JobError, match=f'no example.*such as .*{known["user_id"]}'):
    user_records.read_user_records(
      folder, known['user_id'].upper(), kinds, choices.NAME
    )
