"""docs/recipes.md names every recipe, and what it says of one is so."""

import json
import pathlib
import re
import shlex
import typing
from typing import NamedTuple

import gin
import pytest

from benchmarks.quality_methods import METHODS
from persoma_tf import recipes
from persoma_tf.parameters import freezing
from persoma_tf.prompt_parts import as_texts
from persoma_tf.setting_types import OperandType
from persoma_tf.training.answer_vocabulary import bind_order, bind_template
from persoma_tf.training.training_run import Recipe

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / 'docs' / 'recipes.md').read_text()
RESULTS = ROOT / 'benchmarks' / 'results' / 'quality_ml-100k.json'
FOLDERS = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
DEFAULT = 'runs/perceiver.gin'  # behind flags that name no run
_SCORES = re.compile(r'(\d\.\d{3}) / (\d\.\d{3}|not run) \(`(\w+)`\)')


class Setting(NamedTuple):
  """What stands behind the page's command: recipe files and bindings."""

  files: list[str]
  bindings: list[str]


def setting(flags: str) -> Setting:
  """Of flags as they stand on the page, with the run that they are behind."""
  bindings, rest = recipes.bindings_of(shlex.split(flags))
  files = [flag.removeprefix('--gin_file=') for flag in rest]
  own = any(file.startswith('runs/') for file in files)
  return Setting(files if own else [DEFAULT, *files], bindings)


SETTINGS = [
  span
  for span in re.findall(r'(?<!`)`([^`\n]+)`', TEXT)
  if span.startswith(('--gin.', '--gin_file=')) and span != '--gin_file=runs/...'
]
# Others' vocabularies need not be here, nor the encoder of the folders of the tests,
# which have no examples.
_ELSEWHERE = re.compile(
  'models/|DECODER|from_texts|choice|questions|runs/text.gin|runs/rank.gin'
)
OF_THE_QUICKSTARTS_DECODER = [x for x in SETTINGS if not _ELSEWHERE.search(x)]
ROWS = [line.split(' | ') for line in TEXT.splitlines() if _SCORES.search(line)]


def test_the_tables_are_seen():
  assert len(SETTINGS) > 20
  assert len(ROWS) > 10


def test_every_recipe_is_named_and_every_name_is_a_recipe():
  named = set(re.findall(r'\b(?:runs|adapters|models|t5x)/\w+\.gin', TEXT))
  files = {str(x.relative_to(recipes.CONFIGS)) for x in recipes.CONFIGS.rglob('*.gin')}
  assert named == files


@pytest.mark.parametrize('flags', SETTINGS)
def test_settings_parse(flags):
  files, bindings = setting(flags)
  recipes.parse_recipes(files, [*bindings, *FOLDERS])


@pytest.mark.parametrize('flags', OF_THE_QUICKSTARTS_DECODER)
def test_settings_make_a_recipe(flags, assets, folders):
  """Its stages check their values, too."""
  files, bindings = setting(flags)
  assets('smollm2-135m-instruct')
  histories, embeddings = map(str, folders)
  places = [f'HISTORIES_DIR = {histories!r}', f'EMBEDDINGS_DIR = {embeddings!r}']
  recipes.parse_recipes(files, [*bindings, *places])
  recipe = Recipe()
  assert freezing.tuned(recipe.tuning) is not None
  assert recipe.dtype in typing.get_args(OperandType)
  bind_template(recipe.answer, recipe.task)
  assert as_texts(bind_order(recipe.task))


def test_a_file_of_ones_own(tmp_path):
  (block,) = re.findall(r'```gin\n(.*?)```', TEXT, re.DOTALL)
  (tmp_path / 'own.gin').write_text(block)
  recipes.parse_recipes([str(tmp_path / 'own.gin')], FOLDERS)
  assert gin.query_parameter('train.tuning') == 'lora'


@pytest.mark.parametrize('row', ROWS, ids=lambda row: _SCORES.search(row[-1])[3])
def test_scores_and_their_settings(row):
  *scores, method = _SCORES.search(row[-1]).groups()
  flags = '' if row[1] == 'nothing' else row[1].strip('`')
  assert setting(flags) == Setting(*METHODS[method][:2])
  cells = json.loads(RESULTS.read_text())['cells']
  newest = [x for x in cells if x['sampler'] == 'recency']
  mine = {x['N']: x for x in newest if (x['method'], x['seed']) == (method, 0)}
  found = [
    f'{mine[n]["f1"]["model"]:.3f}' if n in mine else 'not run' for n in (50, 200)
  ]
  assert scores == found
  seconds, steps = mine[50]['train_processor_seconds'], mine[50]['stage_steps']
  said = re.fullmatch(
    r'([\d,]+) s(?:, (\d+) steps)?(?:, slowed by other work)?', row[2]
  )
  assert said[1] == f'{seconds:,}'
  assert said[2] in (None, str(steps['decoder']))


def test_the_bound():
  means = json.loads(RESULTS.read_text())['means']
  bound = [f'{means[f"N={n}"]["rule_on_sample"]:.3f}' for n in (50, 200)]
  assert f'`rule_on_sample`, is {" / ".join(bound)}' in TEXT


def test_the_quickstart():
  name = 'quickstart_ml-100k.json'
  found = json.loads((ROOT / 'benchmarks' / 'results' / name).read_text())
  seconds, text = found['seconds'], ' '.join(TEXT.split())
  assert f'F1 {found["methods"]["persoma"]["f1"]:.3f}, {seconds["model"]:.0f} s' in text
  assert f'{seconds["all"]:.0f} s for the whole chain' in text
  assert f'{found["peak_memory_gb"]:.1f} GB at most' in text
