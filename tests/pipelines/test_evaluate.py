"""The report of real histories and made-up answers, some of them hostile."""

import html.parser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines import build_histories, evaluate, t5x_answers
from pipelines.common import storage, tfrecord
from pipelines.common.job import JobError
from pipelines.histories import history_records
from pipelines.report.run_results import read_split
from tests import movielens, tiny

HOSTILE = '<script>alert("$1")</script>'
CURVES = [
  {'step': 2, 'histories/loss': 4.0, 'timing/examples_per_second': 9.0},
  {'step': 4, 'histories/loss': 2.5, 'timing/examples_per_second': 9.0},
]
VOID = {'meta', 'br'}


class Page(html.parser.HTMLParser):
  """Reads a page; fails where tags do not close."""

  def __init__(self, text: str):
    super().__init__()
    self.tags, self.attributes, self.texts, self._open = [], [], [], []
    self.feed(text)
    self.close()
    assert not self._open

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += attrs
    self._open += [] if tag in VOID else [tag]

  def handle_startendtag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += attrs

  def handle_endtag(self, tag):
    assert self._open.pop() == tag

  def handle_data(self, data):
    self.texts.append(data)


@pytest.fixture(scope='module')
def parts(tmp_path_factory):
  """Folder with histories of users and items with hostile names, and a model."""
  folder = tmp_path_factory.mktemp('parts')
  movielens.write(folder, users=40)
  ratings, movies = folder / 'ratings.csv', folder / 'movies.csv'
  quoted = HOSTILE.replace('"', '""')
  lines = movies.read_text().replace('Drama', '$<i>Dr&ma$').splitlines()
  lines[1:] = [re.sub(r'"?Film', f'"{quoted}', x, count=1) for x in lines[1:]]
  lines[1:] = [re.sub(r'\)"?,', ')",', x, count=1) for x in lines[1:]]
  movies.write_text('\n'.join(lines) + '\n')
  lines = ratings.read_text().splitlines()
  ratings.write_text('\n'.join([lines[0], *(f'<b>{x}' for x in lines[1:])]) + '\n')
  build_histories.run(
    [
      f'--ratings={ratings}',
      f'--movies={movies}',
      f'--output_dir={folder}/histories',
      '--max_history=20',
      '--train_fraction=0.5',
      '--validation_fraction=0',
    ]
  )
  (folder / 'model' / 'adapter').mkdir(parents=True)
  manifest = {'model_id': 'persoma-4-abc', 'decoder': 'tiny'}
  (folder / 'model' / 'adapter' / 'manifest.json').write_text(json.dumps(manifest))
  lines = ''.join(json.dumps(row) + '\n' for row in CURVES)
  (folder / 'model' / 'metrics.jsonl').write_text(lines)
  (folder / 'model' / 'config.gin').write_text("train.task = '<b>x</b>'\n")
  tiny.write_embeddings(folder / 'histories', folder / 'embeddings')
  completed = '{"fingerprint": "x", "settings": {"step": 4}}'
  (folder / 'model' / 'COMPLETED').write_text(completed)
  predict(folder, folder / 'predictions')
  return folder


def labels(folder, split='test') -> list[dict]:
  (path,) = (folder / 'histories').glob(f'{split}-*')
  return [history_records.decode_example(x) for x in tfrecord.read_tfrecord(str(path))]


def predict(folder, output, skip=0) -> None:
  """A prediction table: right, wrong and hostile answers, a third each."""
  lines = []
  for at, user in enumerate(labels(folder)[skip:]):
    listed = lambda names: ', '.join(names) or 'none'
    right = f"The user likes {listed(user['liked'])} and doesn't like "
    texts = (right + listed(user['disliked']), right + 'Horror', HOSTILE)
    inputs = {'user_id': user['user_id'], 'history_mask': [1] * 5}
    aux = {'scores': -1.5 - at}
    lines.append({'inputs': inputs, 'prediction': texts[at % 3], 'aux': aux})
  answers = output.with_name(f'{output.name}-answers')
  answers.mkdir()
  name = 'x-predict_with_aux.jsonl-00000-of-00001'
  (answers / name).write_text(''.join(json.dumps(x) + '\n' for x in lines))
  (answers / f'{name}.COMPLETED').touch()
  t5x_answers.run(
    [
      f'--answers_dir={answers}',
      f'--model_dir={folder}/model',
      f'--histories_dir={folder}/histories',
      f'--output_dir={output}',
      '--format=json',
    ]
  )


def report(parts, output, *flags, predictions=None) -> str:
  evaluate.run(
    [
      f'--predictions_dir={predictions or parts / "predictions"}',
      f'--histories_dir={parts}/histories',
      f'--output_dir={output}',
      '--bootstrap_samples=50',
      *flags,
    ]
  )
  return (output / 'report.html').read_text()


def test_the_page_is_whole_and_needs_nothing_else(parts, tmp_path):
  text = report(parts, tmp_path / 'r', f'--model_dir={parts}/model')
  page = Page(text)
  assert page.tags.count('svg') == 6
  assert {'script', 'link', 'img', 'iframe', 'i'}.isdisjoint(page.tags)
  addresses = [x for name, x in page.attributes if name.endswith(('href', 'src'))]
  assert addresses
  assert all(x.startswith('#') for x in addresses)
  assert not re.search(r'url\((?!#)|@import', text)
  ids = [x for name, x in page.attributes if name == 'id']
  assert len(ids) == len(set(ids))
  assert {x[1:] for x in addresses} <= set(ids)
  assert not re.search(r'\$[a-z_]+', re.sub(r'(?s)<pre>.*?</pre>', '', text))


def test_names_and_texts_of_users_are_texts(parts, tmp_path):
  page = Page(report(parts, tmp_path / 'r', f'--model_dir={parts}/model'))
  assert any(x.startswith(f'{HOSTILE} ') for x in page.texts), 'titles'
  assert HOSTILE in page.texts, 'answers'
  assert any(x.startswith('User <b>') for x in page.texts), 'users'
  assert page.texts.count('$<i>Dr&ma$') > 3, 'genres'
  assert "train.task = '<b>x</b>'\n" in page.texts


def test_the_page_says_what_the_scores_say(parts, tmp_path):
  page = Page(report(parts, tmp_path / 'r'))
  methods = json.loads((tmp_path / 'r' / 'metrics.json').read_text())['methods']
  ours, bound = methods['persoma'], methods['rule_on_sample']
  at = page.texts.index('F1 of persoma')
  assert page.texts[at + 1] == f'{ours["f1"]:.3f}'
  interval = f'95 % interval {ours["f1_low"]:.3f} to {ours["f1_high"]:.3f}'
  assert page.texts[at + 2] == interval
  assert page.texts[page.texts.index('of the bound') + 1] == (
    f'{100 * ours["f1"] / bound["f1"]:.0f} %'
  )
  failures = sum(1 for at in range(len(labels(parts))) if at % 3 == 2)
  assert ours['parse_failures'] == failures
  assert page.texts[page.texts.index('parse failures') + 1] == str(failures)
  assert any('--model_dir' in x for x in page.texts), 'how to get the curves'


WITHOUT_VECTORS = {'persoma', 'constant', 'counting', 'rule_on_sample'}
WITH_VECTORS = {'linear_probe', 'logistic_regression', 'nearest_users'}


def test_methods_that_read_item_vectors(parts, tmp_path):
  page = report(parts, tmp_path / 'r')
  methods = json.loads((tmp_path / 'r' / 'metrics.json').read_text())['methods']
  assert methods.keys() == WITHOUT_VECTORS | {'swapped_users'}
  assert 'linear_probe' not in page
  flags = [f'--embeddings_dir={parts}/embeddings', f'--model_dir={parts}/model']
  page = report(parts, tmp_path / 's', *flags)
  found = json.loads((tmp_path / 's' / 'metrics.json').read_text())
  assert found['methods'].keys() == methods.keys() | WITH_VECTORS
  assert methods.items() <= found['methods'].items(), 'the others stay as they are'
  assert found['run']['embeddings'] == 'x'
  shown = (
    page,
    *((tmp_path / 's' / name).read_text() for name in ('scores.txt', 'model_card.md')),
  )
  for name in WITH_VECTORS:
    row = found['methods'][name]
    assert row['f1_low'] <= row['f1'] <= row['f1_high']
    assert row['settings'].keys() > {'threshold'}
    assert all(name in text for text in shown)
    for setting, value in row['settings'].items():
      assert f'{name}: {setting}' in page
      assert str(value) in page


def test_answers_to_other_users_are_the_control(parts, tmp_path):
  page = report(parts, tmp_path / 'r')
  methods = json.loads((tmp_path / 'r' / 'metrics.json').read_text())['methods']
  row = methods['swapped_users']
  assert row['f1'] < methods['persoma']['f1']
  assert row['parse_failures'] == methods['persoma']['parse_failures']
  assert 'f1_low' not in row
  assert f'mean of {row["rolls"]} such pairings' in ' '.join(page.split())
  assert row['rolls'] == min(20, len(labels(parts)) - 1)


def test_a_model_below_a_baseline_says_so_everywhere(parts, tmp_path):
  card = f'--model_dir={parts}/model'
  report(parts, tmp_path / 'r', card)
  found = json.loads((tmp_path / 'r' / 'metrics.json').read_text())
  assert found['better_baseline'] is None
  silent = tmp_path / 'silent'
  shutil.copytree(parts / 'predictions', silent)
  (table,) = silent.glob('predictions-*')
  rows = [json.loads(line) for line in table.read_text().splitlines()]
  nothing = {'predicted_liked': [], 'predicted_disliked': []}
  table.write_text(''.join(json.dumps(row | nothing) + '\n' for row in rows))
  page = report(parts, tmp_path / 's', card, predictions=silent)
  better = json.loads((tmp_path / 's' / 'metrics.json').read_text())['better_baseline']
  assert better['method'] in ('constant', 'counting')
  assert better['text'].startswith(f'persoma scores below {better["method"]}, which')
  assert f'F1 0.000 against {better["f1"]:.3f}' in better['text']
  assert better['text'] in page
  for name in ('scores.txt', 'model_card.md'):
    assert better['text'] in (tmp_path / 's' / name).read_text()
    assert 'scores below' not in (tmp_path / 'r' / name).read_text()


def test_examples_are_right_and_wrong(parts, tmp_path):
  text = report(parts, tmp_path / 'r')
  right, wrong = text[text.index('>Right:') :].split('>Wrong:')
  found = {
    kind: set(re.findall(r'<h4>User (.*?)</h4>', part))
    for kind, part in (('right', right), ('wrong', wrong))
  }
  assert all(len(users) == 4 for users in found.values())
  for at, user in enumerate(labels(parts)):
    name = user['user_id'].replace('<', '&lt;').replace('>', '&gt;')
    if at % 3 == 0:
      assert name not in found['wrong']
    if at % 3 == 2:
      assert name not in found['right']
  other = report(parts, tmp_path / 's', '--seed=1')
  assert set(re.findall(r'<h4>User (.*?)</h4>', other)) != set.union(*found.values())


def test_the_same_bytes_again_and_of_many_shards(parts, tmp_path):
  first = report(parts, tmp_path / 'r')
  assert report(parts, tmp_path / 's') == first
  cut = tmp_path / 'cut'
  shutil.copytree(parts / 'predictions', cut)
  whole = cut / 'predictions-00000-of-00001.jsonl'
  lines = whole.read_text().splitlines(keepends=True)
  whole.unlink()
  for shard, part in enumerate((lines[5:], lines[:5])):
    name = f'predictions-{shard:05}-of-00002.jsonl'
    (cut / name).write_text(''.join(part))
  assert report(parts, tmp_path / 't', predictions=cut) == first


def test_nobody(parts, tmp_path):
  """No users, or none with a label: there is no score, and no 0 that looks like one."""
  histories = tmp_path / 'histories'
  shutil.copytree(parts / 'histories', histories)
  path = histories / 'dataset_info.json'
  info = json.loads(path.read_text())
  info['counts']['users']['test'] = 0
  train = info['counts']['users']['train']
  path.write_text(json.dumps(info))
  (test,) = histories.glob('test-*')
  records = list(tfrecord.read_tfrecord(str(test)))
  test.write_bytes(b'')
  with pytest.raises(
    JobError, match=rf'no users in the split test \(train {train}, val'
  ):
    of_histories(parts, histories, tmp_path)
  assert not (tmp_path / 'report').exists()
  info['counts']['users']['test'] = len(records)
  path.write_text(json.dumps(info))
  users = map(history_records.decode_example, records)
  bare = [
    history_records.encode_example({**user, 'liked': [], 'disliked': []})
    for user in users
  ]
  test.write_bytes(tfrecord.frame_records(pa.array(bare, pa.binary())))
  with pytest.raises(
    JobError, match=rf'none of the {len(bare)} users of the split test'
  ):
    of_histories(parts, histories, tmp_path)


def test_users_who_were_rejected_are_counted_and_the_others_scored(
  parts, tmp_path, capsys
):
  """One record without a user, one of an item that is not in the table."""
  histories, predictions = tmp_path / 'histories', tmp_path / 'predictions'
  shutil.copytree(parts / 'histories', histories)
  shutil.copytree(parts / 'predictions', predictions)
  users = labels(parts)
  nameless = tf.train.Example.FromString(history_records.encode_example(users[0]))
  nameless.features.feature['user_id'].bytes_list.value.clear()
  unknown = {**users[1], 'history_items': np.full(len(users[1]['history_items']), 999)}
  records = [nameless.SerializeToString(), history_records.encode_example(unknown)]
  records += map(history_records.encode_example, users[2:])
  (shard,) = histories.glob('test-*')
  shard.write_bytes(tfrecord.frame_records(pa.array(records, pa.binary())))
  (table,) = predictions.glob('predictions-*')
  rejected = {user['user_id'] for user in users[:2]}
  rows = [json.loads(line) for line in table.read_text().splitlines()]
  kept = [row for row in rows if row['user_id'] not in rejected]
  table.write_text(''.join(json.dumps(row) + '\n' for row in kept))
  (predictions / 'run_info.json').write_text('{"rejects": 2}')
  text = of_histories(parts, histories, tmp_path, predictions)
  metrics = json.loads((tmp_path / 'report' / 'metrics.json').read_text())
  scored, total = len(users) - 2, len(users)
  assert metrics['data']['coverage'] == {
    'users_scored': scored,
    'users_in_split': total,
    'rejects': 2,
  }
  assert {row['users'] for row in metrics['methods'].values()} == {scored}
  line = f'users scored: {scored} of {total} in the split test, 2 rejected'
  assert line in capsys.readouterr().out.splitlines()
  assert any(
    f'{scored} of {total} users of the split “test”; 2 were rejected' in x
    for x in map(' '.join, map(str.split, Page(text).texts))
  )


def of_histories(parts, histories, tmp_path, predictions=None) -> str:
  evaluate.run(
    [
      f'--predictions_dir={predictions or parts / "predictions"}',
      f'--histories_dir={histories}',
      f'--output_dir={tmp_path}/report',
      '--bootstrap_samples=50',
    ]
  )
  return (tmp_path / 'report' / 'report.html').read_text()


def test_later_labels_have_no_bound(parts, tmp_path):
  histories = tmp_path / 'histories'
  shutil.copytree(parts / 'histories', histories)
  path = histories / 'dataset_info.json'
  info = json.loads(path.read_text())
  path.write_text(json.dumps({**info, 'label_mode': 'future'}))
  text = of_histories(parts, histories, tmp_path)
  assert 'no bound here' in text
  assert 'of the bound' not in text


def test_refused(parts, tmp_path):
  with pytest.raises(JobError, match=r'not a finished folder.*persoma_tf\.train'):
    report(parts, tmp_path / 'r', f'--model_dir={tmp_path}')
  other = tmp_path / 'model'
  shutil.copytree(parts / 'model', other)
  (other / 'adapter' / 'manifest.json').write_text('{"model_id": "persoma-9-x"}')
  with pytest.raises(JobError, match='holds persoma-9-x, but pers'):
    report(parts, tmp_path / 'r', f'--model_dir={other}')
  vectors = tmp_path / 'embeddings'
  shutil.copytree(parts / 'embeddings', vectors)
  of_others = '{"fingerprint": "x", "settings": {"histories": "y"}}'
  (vectors / 'COMPLETED').write_text(of_others)
  with pytest.raises(JobError, match=r'embeddings was made from other histories than'):
    report(parts, tmp_path / 'r', f'--embeddings_dir={vectors}')
  with pytest.raises(JobError, match=r'not a finished folder.*pipelines\.embed_items'):
    report(parts, tmp_path / 'r', f'--embeddings_dir={tmp_path}')
  lost = tmp_path / 'predictions'
  shutil.copytree(parts / 'predictions', lost)
  (table,) = lost.glob('predictions-*')
  lines = table.read_text().splitlines(keepends=True)
  table.write_text(''.join(lines[1:]))  # a user who is in no reject
  with pytest.raises(JobError, match=rf'1 of {len(lines)} users have no prediction'):
    report(parts, tmp_path / 'r', predictions=lost)
  table.write_text('')
  (lost / 'run_info.json').write_text(json.dumps({'rejects': len(lines)}))
  with pytest.raises(JobError, match=rf'{len(lines)} of {len(lines)} users have no'):
    report(parts, tmp_path / 'r', predictions=lost)
  report(parts, tmp_path / 's')
  with pytest.raises(JobError, match='other settings'):
    report(parts, tmp_path / 's', f'--model_dir={parts}/model')


def test_all_splits_are_read(parts):
  genres = storage.read_json(f'{parts}/histories/dataset_info.json')['genres']
  users = read_split(f'{parts}/histories', 'all', genres).user_ids
  expected = [x['user_id'] for split in ('test', 'train') for x in labels(parts, split)]
  assert users == expected


def test_the_package_has_the_page(tmp_path):
  root = Path(__file__).parents[2]
  for name in ('setup.py', 'pyproject.toml'):
    shutil.copy(root / name, tmp_path)
  shutil.copytree(root / 'pipelines', tmp_path / 'pipelines')
  command = [sys.executable, 'setup.py', '-q', 'build_py', '--build-lib=built']
  subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
  report = Path('pipelines', 'report')
  files = {x.name for x in (root / report).iterdir() if x.suffix in ('.html', '.css')}
  assert {'run_page.html', 'study_page.html', 'page.css'} < files
  assert files <= {x.name for x in (tmp_path / 'built' / report).iterdir()}


def test_help_waits_for_no_library_of_the_report():
  code = (
    'import sys; import pipelines.common.job; known = {*sys.modules}; '
    'import pipelines.evaluate, pipelines.study_report; '
    'new = {name.split(".")[0] for name in {*sys.modules} - known}; '
    'print(*new - sys.stdlib_module_names)'
  )
  command = [sys.executable, '-c', code]
  printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
  assert {*printed.split()} == {'persoma_tf', 'pipelines'}
