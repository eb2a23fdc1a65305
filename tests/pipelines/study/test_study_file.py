"""Study files to cells."""

import itertools
import pathlib

import pytest
import yaml

from pipelines import build_histories, embed_items, evaluate
from pipelines.common import flags
from pipelines.study import cells, processes, study_file
from tests import movielens

STUDIES = pathlib.Path(__file__).parents[3] / 'studies'


@pytest.fixture
def read(tmp_path):
  """Reads a study of a generated data set."""
  movielens.write(tmp_path)

  def read(**content):
    path = tmp_path / 'own.yaml'
    path.write_text(yaml.safe_dump({'data': str(tmp_path), **content}))
    return study_file.read_study(str(path))

  return read


@pytest.fixture
def dataset(tmp_path, tiny):
  """The path of MovieLens's dataset file with three questions, on generated data."""
  text = (STUDIES.parent / 'examples' / 'movielens' / 'all.yaml').read_text()
  path = tmp_path / 'all.yaml'
  path.write_text(text.replace('../../runs/ml-latest-small', str(tiny)))
  return str(path)


def test_questions_of_a_dataset_file_share_histories(dataset, tmp_path):
  asked = ['movielens_genre_prediction_v1', 'movielens_like_v1', 'movielens_stars_v1']
  path = tmp_path / 'own.yaml'
  read = lambda **content: (
    path.write_text(yaml.safe_dump({'data': dataset, **content}))
    and study_file.read_study(str(path))
  )
  found = read(
    grids=[{'question': asked}, {}, {'question': asked[1], 'adapter': 'mlp'}]
  )
  first = ('runs/dataset.gin', asked[0], '')
  assert (
    axes(found, 'recipe', 'question', 'adapter')
    == [
      first,  # which the second grid asks, too
      *(('runs/choice.gin', name, '') for name in asked[1:]),
      ('runs/choice.gin', asked[1], 'mlp'),
    ]
  )
  like = found.cells[1]
  assert "\nquestion.name = 'movielens_like_v1'\n" in like.config
  assert '\nbuild.draft = @choice_draft()\n' in like.config
  assert like.recipes == ('runs/choice.gin',)
  assert {cells._inputs(found, cell) for cell in found.cells} == {
    study_file.digest_settings(study_file.data_files.checksums(dataset))
  }
  jobs = processes.cell_commands(like, tmp_path, tmp_path)
  assert f'--questions={asked[1]}' in jobs['predictions'], 'a model may answer others'
  jobs = processes.input_commands(like, found, tmp_path)
  own = flags.parse_with_beam(build_histories.Config, jobs['histories'][1:])[0]
  assert own.dataset == dataset
  with pytest.raises(
    ValueError, match=r"'stars_v1': expected one of those of .*like_v1"
  ):
    read(grids=[{'question': 'stars_v1'}])
  with pytest.raises(ValueError, match="'sampler' is none of question, recipe"):
    read(grids=[{'sampler': 'recency'}])


def axes(found, *names):
  return [tuple(cell.axes[name] for name in names) for cell in found.cells]


def test_a_grid_is_the_product_of_its_lists(read):
  found = read(
    base={'seed': [0, 1]},
    grids=[{'adapter': ['mlp', 'transformer'], 'max_history': [10, 20]}],
  )
  expected = itertools.product([0, 1], ['mlp', 'transformer'], [10, 20])
  assert axes(found, 'seed', 'adapter', 'max_history') == list(expected)


def test_a_cell_of_two_grids_is_one(read):
  found = read(grids=[{'seed': [0, 1]}, {'adapter': ['perceiver', 'mlp']}])
  assert axes(found, 'adapter', 'seed') == [
    ('perceiver', 0),
    ('mlp', 0),
    ('perceiver', 1),
  ], 'the first seed of all runs first'


def test_axes_reach_the_recipe(read):
  (cell,) = read(
    bindings={'Mlp.width': 16},
    grids=[{'adapter': 'mlp', 'tuning': 'lora', 'max_history': 7, 'seed': 3}],
  ).cells
  for line in (
    'build.resampler = @Mlp()',
    'Mlp.width = 16',
    "train.tuning = 'lora'",
    'history_limits.items = 7',
    'train.seed = 3',
  ):
    assert f'\n{line}\n' in cell.config


def test_a_name_tells_all_that_decides_a_result(read, tmp_path):
  """Another setting, recipe or data set is another cell; the same is the same."""
  grids = [{'seed': 0}]
  first = read(grids=grids).cells[0].name
  assert first == read(grids=grids, about='other words', minutes=3).cells[0].name
  names = {first, read(grids=grids, bindings={'Perceiver.width': 32}).cells[0].name}
  own = tmp_path / 'perceiver.gin'
  own.write_text("include 'persoma_tf/configs/runs/perceiver.gin'\ntrain.seed = 0\n")
  names.add(read(grids=[{'recipe': str(own)}]).cells[0].name)
  own.write_text(own.read_text() + 'train.log_period = 7\n')
  names.add(read(grids=[{'recipe': str(own)}]).cells[0].name)
  assert all(name.startswith('perceiver-perceiver-recency-50-') for name in names)
  study_file.data_files.checksums.cache_clear()
  with (tmp_path / 'ratings.csv').open('a') as file:
    file.write('1,1,3.0,1\r\n')
  names.add(read(grids=grids).cells[0].name)
  assert len(names) == 5


def test_flags_of_own_data_reach_the_jobs(read, tmp_path):
  grids = [{'max_history': 20}]
  own = {'histories': {'rating_scale': '1:10:1', 'min_history': 9}}
  found = read(grids=grids, **own, embeddings={'item_noun': 'book'})
  jobs = processes.input_commands(found.cells[0], found, tmp_path)
  own = flags.parse_with_beam(build_histories.Config, jobs['histories'][1:])[0]
  assert (own.rating_scale, own.min_history, own.max_history) == ('1:10:1', 9, 20)
  assert own.ratings == str(tmp_path / 'ratings.csv')
  own = flags.parse_with_beam(embed_items.Config, jobs['embeddings'][1:])[0]
  assert own.nouns.item == 'book'
  plain = read(grids=grids)
  assert found.cells[0].name != plain.cells[0].name
  inputs = {cells._inputs(x, x.cells[0]) for x in (found, plain)}
  assert len(inputs) == 2, 'other flags, other histories'


def test_the_report_reads_the_shared_vectors(read, tmp_path):
  (cell,) = read(grids=[{}]).cells
  jobs = processes.cell_commands(cell, tmp_path / 'inputs', tmp_path / 'cell')
  own = flags.parse(evaluate.Config, jobs['report'][1:])
  assert own.embeddings_dir == f'{tmp_path}/inputs/embeddings'
  assert own.model_dir == f'{tmp_path}/cell/model'


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ({'grid': []}, "expected keys .*'grids'"),
    (
      {'grids': [{'sampler': ['recencyy']}]},
      "'recencyy' is none of .* did you mean 'recency'",
    ),
    ({'base': {'tuning': 'lorra'}, 'grids': [{}]}, "did you mean 'lora'"),
    ({'grids': [{}], 'minute': 3}, "'minute' is none of .* did you mean 'minutes'"),
    (
      {'grids': [{'samplr': 'x'}]},
      "'samplr' is none of .* did you mean 'sampler'",
    ),
    ({'grids': [{'seed': []}]}, "the list of 'seed' is empty"),
    (
      {'grids': [{'adapter': 'mpl'}]},
      r'no recipe .*mpl\.gin.*mlp\.gin',
    ),
    ({'grids': [{}], 'bindings': {'No.such': 1}}, 'No.such'),
    (
      {'grids': [{}], 'bindings': {'history/Stage.steps': 50}},
      "nothing runs in the scope 'history'; did you mean histories",
    ),
    ({'grids': [{}], 'histories': {'max_history': 9}}, "'max_history' is none of"),
    ({'grids': [{}], 'histories': {'raiting_scale': 9}}, "did you mean 'rating_scale'"),
    ({'grids': [{}], 'data': 'nowhere'}, 'expected ml-100k, a dataset file or a fold'),
    ({'grids': [{'question': 'x_v1'}]}, "'question' is none of recipe"),
  ],
)
def test_errors(read, content, message):
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    read(**content)


def test_not_yaml(tmp_path):
  path = tmp_path / 'broken.yaml'
  path.write_text('grids: [')
  with pytest.raises(ValueError, match=r'broken\.yaml: not YAML'):
    study_file.read_study(str(path))


@pytest.mark.parametrize('path', sorted(STUDIES.glob('*.yaml')), ids=lambda x: x.stem)
def test_the_studies_that_are_shipped(path, tiny, dataset):
  data = yaml.safe_load(path.read_text()).get('data', '')
  found = study_file.read_study(
    str(path), dataset if data.endswith('yaml') else str(tiny)
  )
  assert found.about
  assert found.minutes
  assert len({cell.name for cell in found.cells}) == len(found.cells) > 1
