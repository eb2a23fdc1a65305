"""The report of a choice, with hostile names, and the floors before a training."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from pipelines import evaluate
from pipelines.common.job import JobError
from pipelines.inspect import __main__ as inspect_command
from pipelines.inspect import floors, printed
from tests import choice_tables as choices
from tests.pipelines.test_evaluate import CURVES, Page

SPLITS = choices.draw()
THREE = ('Good', 'Fair', 'Poor')


@pytest.fixture(scope='module')
def parts(tmp_path_factory):
  folder = tmp_path_factory.mktemp('choice')
  choices.write_histories(folder / 'histories', SPLITS)
  choices.write_item_vectors(folder / 'vectors')
  choices.write_predictions(folder / 'predictions', choices.answer(SPLITS['test']))
  model = folder / 'model'
  (model / 'adapter').mkdir(parents=True)
  manifest = {'model_id': 'persoma-4-abc', 'decoder': 'tiny'}
  (model / 'adapter' / 'manifest.json').write_text(json.dumps(manifest))
  lines = ''.join(json.dumps(row) + '\n' for row in CURVES)
  (model / 'metrics.jsonl').write_text(lines)
  (model / 'config.gin').write_text("train.task = '<b>x</b>'\n")
  (model / 'COMPLETED').write_text('{"fingerprint": "x", "settings": {"step": 4}}')
  return folder


def report(parts, output, *flags, histories=None, predictions=None):
  """The page, and the content of metrics.json."""
  evaluate.run(
    [
      f'--predictions_dir={predictions or parts / "predictions"}',
      f'--histories_dir={histories or parts / "histories"}',
      f'--output_dir={output}',
      '--bootstrap_samples=50',
      *flags,
    ]
  )
  text = (output / 'report.html').read_text()
  return text, json.loads((output / 'metrics.json').read_text())


def test_the_page_is_whole_and_says_what_the_scores_say(parts, tmp_path, capsys):
  flags = [f'--model_dir={parts}/model', f'--embeddings_dir={parts}/vectors']
  text, found = report(parts, tmp_path / 'r', *flags)
  page = Page(text)
  assert page.tags.count('svg') == 4
  assert {'script', 'link', 'img', 'iframe', 'i'}.isdisjoint(page.tags)
  ids = [x for name, x in page.attributes if name == 'id']
  assert len(ids) == len(set(ids))
  ours = found['methods']['persoma']
  for name, key in (('AUC', 'auc'), ('Accuracy', 'accuracy')):
    at = page.texts.index(f'{name} of persoma')
    interval = f'95 % interval {ours[f"{key}_low"]:.3f} to {ours[f"{key}_high"]:.3f}'
    assert page.texts[at + 1 : at + 3] == [f'{ours[key]:.3f}', interval]
  methods = {'persoma', 'draft', 'majority', 'item_mean', 'item_mean_user_bias'}
  assert found['methods'].keys() == methods | {'logistic_regression'}
  assert found['data']['question'] == choices.NAME
  assert found['data']['score'] == 'auc'
  assert found['run']['embeddings'] == 'v'
  shown = capsys.readouterr().out
  assert shown == (tmp_path / 'r' / 'scores.txt').read_text()
  card = (tmp_path / 'r' / 'model_card.md').read_text()
  for name, row in found['methods'].items():
    assert all(name in x for x in (text, shown, card))
    for setting, value in row.get('settings', {}).items():
      assert f'{name}: {setting}' in page.texts
      assert str(value) in page.texts
  assert '<script>' not in text
  assert any(f'Book 1 {choices.HOSTILE}' in x for x in page.texts), 'titles'
  assert any(x == f'Yes {choices.HOSTILE}' for x in page.texts), 'answers'
  assert any('user <b>u' in x for x in page.texts), 'users'


def test_several_questions_have_a_page_above_theirs(parts, tmp_path, capsys):
  (tmp_path / 'p').mkdir()
  for name, right in (('likes_v1', 0.8), ('others_v1', 0.3)):
    rows = choices.answer(SPLITS['test'], right=right)
    choices.write_predictions(tmp_path / 'p' / name, rows)
  for _ in range(2):
    flags = [f'--predictions_dir={tmp_path}/p', f'--histories_dir={parts}/histories']
    evaluate.run([*flags, f'--output_dir={tmp_path}/r', '--bootstrap_samples=50'])
  page = (tmp_path / 'r' / 'report.html').read_text()
  links = [x for name, x in Page(page).attributes if name == 'href']
  assert links == ['likes_v1/report.html', 'others_v1/report.html']
  assert all((tmp_path / 'r' / link).exists() for link in links)
  told = [(tmp_path / 'r' / link).with_name('scores.txt').read_text() for link in links]
  assert told[0] != told[1]
  assert all(text in page for text in told)
  assert capsys.readouterr().out == ''.join(told)  # once: they are finished


def test_examples_without_an_answer_are_counted_and_not_scored(parts, tmp_path):
  text, found = report(parts, tmp_path / 'r')
  without = sum(not x['answer'] for x in SPLITS['test'])
  scored = len(SPLITS['test']) - without
  assert without > 0
  assert found['data']['coverage'] == {
    'examples_scored': scored,
    'examples_without_answer': without,
    'examples_in_split': scored + without,
    'rejects': 0,
    'users_scored': len({x['user_id'] for x in SPLITS['test'] if x['answer']}),
    'users_in_split': len({x['user_id'] for x in SPLITS['test']}),
  }
  assert {row['examples'] for row in found['methods'].values()} == {scored}
  assert f'{without} have no answer in the data' in text
  line = f'examples scored: {scored} of {scored + without} in the split test, {without}'
  assert line in (tmp_path / 'r' / 'scores.txt').read_text()


def test_ten_examples_right_and_wrong(parts, tmp_path):
  text, _ = report(parts, tmp_path / 'r')
  right, wrong = text[text.index('>Right:') :].split('>Wrong:')
  assert right.count('<article>') == wrong.count('<article>') == 5
  assert right.count('<ins>') == wrong.count('<del>') == 5
  assert text.count(': will the reader like Book') >= 10
  all_right = choices.write_predictions(
    tmp_path / 'p', choices.answer(SPLITS['test'], right=1.1)
  )
  text, _ = report(parts, tmp_path / 's', predictions=all_right)
  right, wrong = text[text.index('>Right:') :].split('>Wrong:')
  assert (right.count('<article>'), wrong.count('<article>')) == (10, 0)


def test_a_model_below_a_floor_says_so_everywhere(parts, tmp_path):
  card = f'--model_dir={parts}/model'
  _, found = report(parts, tmp_path / 'r', card)
  poor = choices.write_predictions(
    tmp_path / 'p', choices.answer(SPLITS['test'], right=0.2)
  )
  text, below = report(parts, tmp_path / 's', card, predictions=poor)
  said = below['better_baseline']['text']
  assert said.startswith('persoma scores below item_mean')
  assert said in text
  for name in ('scores.txt', 'model_card.md'):
    assert said in (tmp_path / 's' / name).read_text()
  best = choices.write_predictions(
    tmp_path / 'q', choices.answer(SPLITS['test'], right=1.1)
  )
  text, found = report(parts, tmp_path / 't', predictions=best)
  assert found['better_baseline'] is None
  assert 'scores below' not in text


def test_parquet_gives_the_same_page(parts, tmp_path):
  first, _ = report(parts, tmp_path / 'r')
  rows = choices.answer(SPLITS['test'])
  other = choices.write_predictions(tmp_path / 'p', rows, 'parquet')
  text, _ = report(parts, tmp_path / 's', predictions=other)
  assert text == first


def test_three_options_and_answers_that_cannot_be_read(parts, tmp_path):
  splits = choices.draw(users=40, options=THREE)
  histories = choices.write_histories(tmp_path / 'h', splits, THREE)
  rows = choices.answer(splits['test'], THREE)
  scored = next(at for at, x in enumerate(splits['test']) if x['answer'])
  rows[scored] |= {'answer': None, 'parse_ok': False}
  for row in rows[::2]:
    row['draft_probabilities'] = row['decoder_probabilities'] = None
  table = choices.write_predictions(tmp_path / 'p', rows)
  text, found = report(parts, tmp_path / 'r', histories=histories, predictions=table)
  Page(text)
  ours = found['methods']['persoma']
  assert ours['parse_failures'] == 1
  assert 'auc' not in ours
  assert 'auc' not in found['methods']['draft'], 'some have no probabilities'
  assert found['methods'].keys() == {'persoma', 'draft', 'majority', 'item_mean'}
  assert found['methods']['item_mean']['auc'] > 0.5
  assert 'NaN' not in (tmp_path / 'r' / 'metrics.json').read_text()


def test_numbers_are_compared_by_their_errors(parts, tmp_path):
  numbers = ('1', '2', '4')
  splits = choices.draw(users=60, options=numbers)
  histories = choices.write_histories(tmp_path / 'h', splits, numbers, kind='number')
  rows = choices.answer(splits['test'], numbers)
  table = choices.write_predictions(tmp_path / 'p', rows)
  flags = f'--embeddings_dir={parts}/vectors', f'--model_dir={parts}/model'
  text, found = report(
    parts, tmp_path / 'r', *flags, histories=histories, predictions=table
  )
  Page(text)
  right = {x['example_id']: x['answer'] for x in splits['test'] if x['answer']}
  scored = [x for x in rows if x['example_id'] in right]
  truth = np.array([float(right[x['example_id']][0]) for x in scored])
  for name in ('decoder', 'draft'):
    odds = np.array([x[f'{name}_probabilities'] for x in scored])
    name = 'persoma' if name == 'decoder' else name
    errors = odds @ [1, 2, 4] - truth
    assert found['methods'][name]['rmse'] == pytest.approx((errors**2).mean() ** 0.5)
    assert found['methods'][name]['mae'] == pytest.approx(np.abs(errors).mean())
  assert found['better_baseline']['score'] == 'rmse'
  best = found['better_baseline']['method']
  assert found['methods'][best]['rmse'] == min(
    x['rmse'] for x in found['methods'].values()
  )
  assert 'item_mean_user_bias' in found['methods']
  assert 'id="numbers"' in text
  assert 'id="roc-curves"' not in text
  scores = (tmp_path / 'r' / 'scores.txt').read_text().splitlines()
  assert scores[0].split()[:2] == ['method', 'RMSE']
  shown = [float(line.split()[1]) for line in scores[1:7]]
  assert shown == sorted(shown)


def test_free_words_are_compared_with_controls(parts, tmp_path):
  names = ('magical wars', 'ancient wars', choices.HOSTILE)
  splits = choices.draw(users=60, options=names)
  histories = choices.write_histories(tmp_path / 'h', splits, (), kind='text')
  rows = choices.answer(splits['test'], names)
  table = choices.write_predictions(tmp_path / 'p', rows)
  flags = f'--embeddings_dir={parts}/vectors', f'--model_dir={parts}/model'
  text, found = report(
    parts, tmp_path / 'r', *flags, histories=histories, predictions=table
  )
  Page(text)
  right = {x['example_id']: x['answer'][0] for x in splits['test'] if x['answer']}
  scored = [x for x in rows if x['example_id'] in right]
  equal = [x['answer'] == right[x['example_id']] for x in scored]
  methods = found['methods']
  assert methods['persoma']['exact_match'] == pytest.approx(np.mean(equal))
  told = Counter(x['answer'][0] for x in splits['train'] if x['answer'])
  often = methods['most_frequent']['settings']['text']
  assert told[often] == max(told.values())
  hits = [often == right[x['example_id']] for x in scored]
  assert methods['most_frequent']['exact_match'] == pytest.approx(np.mean(hits))
  # The prompts of these examples differ, so another's text answers something else.
  assert {*methods} == {'persoma', 'most_frequent'}
  shown = floors.describe_floors(str(histories), f'{parts}/vectors')
  for name, score in shown['methods']['most_frequent'].items():
    assert score == pytest.approx(methods['most_frequent'][name])
  assert 'ROUGE-L' in printed.format_floors(shown)
  assert found['better_baseline'] is None
  assert text.count('<article>') == 10
  assert '<script>' not in text
  scores = (tmp_path / 'r' / 'scores.txt').read_text().splitlines()
  assert scores[0].split()[:2] == ['method', 'ROUGE-L']
  assert scores[1].startswith('persoma')
  poor = choices.write_predictions(
    tmp_path / 'q', choices.answer(splits['test'], names, right=0.0)
  )
  _, below = report(parts, tmp_path / 's', histories=histories, predictions=poor)
  assert 'which knows nothing of the user' in below['better_baseline']['text']


def test_one_answer_for_all_has_no_auc(parts, tmp_path):
  splits = {
    split: [{**x, 'answer': ['Yes']} for x in examples]
    for split, examples in SPLITS.items()
  }
  histories = choices.write_histories(tmp_path / 'h', splits)
  table = choices.write_predictions(tmp_path / 'p', choices.answer(splits['test']))
  text, found = report(
    parts,
    tmp_path / 'r',
    f'--embeddings_dir={choices.write_item_vectors(tmp_path / "v")}',
    histories=histories,
    predictions=table,
  )
  Page(text)
  assert all(row['auc'] is None for row in found['methods'].values())
  assert found['better_baseline']['score'] == 'accuracy'
  assert 'NaN' not in (tmp_path / 'r' / 'metrics.json').read_text()


def test_what_is_refused(parts, tmp_path):
  lost = tmp_path / 'lost'
  shutil.copytree(parts / 'predictions', lost)
  (table,) = lost.glob('predictions-*')
  lines = table.read_text().splitlines(keepends=True)
  table.write_text(''.join(lines[1:]))
  with pytest.raises(JobError, match=rf'1 of {len(lines)} examples have no prediction'):
    report(parts, tmp_path / 'r', predictions=lost)
  (lost / 'run_info.json').write_text('{"rejects": 1}')
  _, found = report(parts, tmp_path / 's', predictions=lost)
  assert found['data']['coverage']['rejects'] == 1
  silent = {**SPLITS, 'test': [{**x, 'answer': []} for x in SPLITS['test']]}
  histories = choices.write_histories(tmp_path / 'h', silent)
  with pytest.raises(JobError, match=rf'none of the {len(lines)} answered examples'):
    report(parts, tmp_path / 't', histories=histories)
  choices.write_item_vectors(tmp_path / 'v')
  with pytest.raises(JobError, match='of likes_v1 in the split test has an answer'):
    floors.describe_floors(str(histories), f'{tmp_path}/v')
  histories = choices.write_histories(tmp_path / 'i', {**SPLITS, 'test': []})
  with pytest.raises(JobError, match='no examples of likes_v1 in the split test'):
    report(parts, tmp_path / 'u', histories=histories)


def test_floors_are_those_of_the_report(parts, tmp_path, capsys):
  folders = f'{parts}/histories', f'{parts}/vectors'
  found = floors.describe_floors(*folders)
  assert floors.describe_floors(*folders, choices.NAME) == found
  _, made = report(parts, tmp_path / 'r', f'--embeddings_dir={parts}/vectors')
  capsys.readouterr()
  for name, row in found['methods'].items():
    assert row == {x: made['methods'][name][x] for x in row}
  assert made['methods'].keys() - found['methods'].keys() == {'persoma', 'draft'}
  best = max(found['methods'], key=lambda x: found['methods'][x]['auc'])
  auc = found['methods'][best]['auc']
  assert found['advice'].startswith(
    f'{best} has AUC {auc:.2f} without a language model'
  )
  with pytest.raises(SystemExit) as ended:
    inspect_command.main(
      [f'--histories_dir={folders[0]}', f'--embeddings_dir={folders[1]}']
    )
  assert not ended.value.code
  assert capsys.readouterr().out == f'{printed.format_floors(found)}\n'
  with pytest.raises(JobError, match=r'--question=buys: .*histories asks likes_v1'):
    floors.describe_floors(*folders, 'buys')
