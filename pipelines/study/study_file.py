"""Reads a study file and makes the cells of its grids.

    recipe: runs/perceiver.gin         # an axis may be left at one value ...
    base: {sampler: recency, max_history: 50, adapter: perceiver, seed: [0, 1]}
    grids:                              # ... or run over a list, here or in `base`
      - {sampler: [recency, random]}
      - {adapter: [mlp, transformer], max_history: [10, 50]}
    bindings: {histories/Stage.steps: 500}   # gin, for every cell
    histories: {rating_scale: '1:10:1'}      # flags of build_histories
    embeddings: {item_noun: book}            # flags of embed_items
    minutes: 6                               # estimate for the first cells

A grid is the product of its lists; `base` has the values of all other axes. `data` may
be a dataset file, which says itself how histories are made: its cells share one folder
of them, and their axis is the question.

    data: examples/movielens/all.yaml
    grids: [{question: [movielens_like_v1, movielens_stars_v1], seed: [0, 1]}]

Two grids can share a cell, which runs once. All cells with the first seed run before
those with the second seed, so that an interrupted study covers every axis.
"""

import dataclasses
import difflib
import hashlib
import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import gin
import yaml

from persoma_tf import recipes
from persoma_tf.parameters import freezing
from persoma_tf.training import training_run  # noqa: F401  registers what recipes set
from pipelines import build_histories, embed_items, try_dataset
from pipelines.histories.samplers import SAMPLERS
from pipelines.study import data_files

# Default value of each axis, if neither the grid nor `base` names the axis.
AXES: dict[str, Any] = {
  'recipe': 'runs/perceiver.gin',
  'adapter': 'perceiver',
  'sampler': 'recency',
  'max_history': 50,
  'tuning': 'frozen',
  'backbone': 'smollm2-135m-instruct',
  'seed': 0,
}
# Of a dataset file: '' is the recipe for the question's kind, and its own adapter.
_OF_A_FILE = {'question': '', 'recipe': '', 'adapter': ''}
_VALUES = {'sampler': tuple(SAMPLERS), 'tuning': tuple(freezing.TUNING)}
_NO_DATA = ("HISTORIES_DIR = ''", "EMBEDDINGS_DIR = ''")  # paths do not change a result
# Jobs that take flags from the study file, and the flags that the study sets itself.
_JOBS = {'histories': build_histories.Config, 'embeddings': embed_items.Config}
_SET = ('ratings', 'movies', 'output_dir', 'histories_dir', 'sampler', 'max_history')
_KEYS = ('about', 'base', 'grids', 'bindings', 'minutes', 'data', *_JOBS)


@dataclasses.dataclass(frozen=True)
class Cell:
  """Describes a cell: one run.

  Attributes:
    axes: value of each axis.
    bindings: gin bindings of the study, then those of the axes.
    name: name of the cell's files: the values of the axes, and a digest of everything
      that decides the result: axes, the resolved recipe and the data's checksums.
    config: the recipe as gin reads it, with includes and bindings resolved.
  """

  axes: Mapping[str, Any]
  bindings: tuple[str, ...]
  name: str
  config: str

  @property
  def recipes(self) -> tuple[str, ...]:
    """Returns the gin files: names under `persoma_tf/configs`, or paths."""
    return _recipes(self.axes)


@dataclasses.dataclass(frozen=True)
class Study:
  """Holds the content of a study file.

  Attributes:
    name: name of the file, without suffix.
    about: question that the study asks.
    minutes: estimated minutes per cell; 0 if not given.
    data: name of an asset, a MovieLens CSV folder, or a dataset file.
    flags: flags of the jobs that write `histories` and `embeddings`.
    cells: cells in the order in which they run.
  """

  name: str
  about: str
  minutes: float
  data: str
  flags: Mapping[str, Sequence[str]]
  cells: tuple[Cell, ...]


def read_study(path: str, data: str = '') -> Study:
  """Reads a study and resolves every cell's recipe.

  Args:
    path: YAML file.
    data: asset, folder or dataset file that replaces the file's data; '' for the
      file's.

  Raises:
    ValueError: a key or axis is unknown, a list is empty, or a recipe does not parse.
  """
  file = pathlib.Path(path)
  try:
    content = yaml.safe_load(file.read_text())
  except yaml.YAMLError as error:
    raise ValueError(f'{path}: not YAML: {error}') from error
  if not isinstance(content, dict) or not isinstance(content.get('grids'), list):
    raise ValueError(f'{path}: expected keys {_KEYS}, with a list under "grids"')
  _check_known(path, content, _KEYS)
  data = data or content.get('data', 'ml-100k')
  bindings = [
    f'{key} = {value!r}' for key, value in content.get('bindings', {}).items()
  ]
  flags = {job: _flags(path, job, content.get(job) or {}) for job in _JOBS}
  base, known = content.get('base', {}), _axes_of(data)
  by_name: dict[str, Cell] = {}
  for grid in content['grids']:
    for axes in _product(path, {**known, **base, **grid}, known):
      cell = _cell(axes, bindings, data, flags)
      by_name.setdefault(cell.name, cell)
  about, minutes = content.get('about', ''), float(content.get('minutes', 0))
  cells = sorted(by_name.values(), key=lambda cell: cell.axes['seed'])
  return Study(file.stem, about.strip(), minutes, data, flags, tuple(cells))


def digest_settings(decides: Any) -> str:
  """Returns a short digest of settings, which are JSON types."""
  text = json.dumps(decides, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:8]


def _check_known(path, names, known):
  for name in names:
    if name not in known:
      near = difflib.get_close_matches(str(name), known, n=1)
      hint = f'; did you mean {near[0]!r}?' if near else ''
      raise ValueError(f'{path}: {name!r} is none of {", ".join(known)}{hint}')


def _flags(path, job, own):
  """Returns the flags of a job; refuses flags that the study sets itself."""
  known = [field.name for field in dataclasses.fields(_JOBS[job])]
  _check_known(path, own, [name for name in known if name not in _SET])
  return [f'--{name}={value}' for name, value in own.items()]


def _axes_of(data):
  """Returns the axes that a study of some data has, with their default values."""
  if not data_files.is_dataset(data):
    return AXES
  question = next(iter(data_files.questions_in(data)))
  common = ('tuning', 'backbone', 'seed')
  own = {**_OF_A_FILE, 'question': question}
  return own | {name: AXES[name] for name in common}


def _product(path, grid, known):
  """Yields every combination of a grid's values; the last axis changes fastest."""
  _check_known(path, grid, known)
  lists = {name: x if isinstance(x, list) else [x] for name, x in grid.items()}
  for name, values in lists.items():
    if not values:
      raise ValueError(f'{path}: the list of {name!r} is empty')
    _check_known(path, values, _VALUES.get(name, values))
  for values in itertools.product(*(lists[name] for name in known)):
    yield dict(zip(known, values, strict=True))


def _recipes(axes):
  adapter = axes['adapter']
  return axes['recipe'], *([f'adapters/{adapter}.gin'] if adapter else [])


def _recipe_for(data, name):
  """Returns the recipe for a question of a dataset file."""
  questions = data_files.questions_in(data)
  if name not in questions:
    raise ValueError(
      f'question {name!r}: expected one of those of {data}, {list(questions)}'
    )
  return try_dataset.recipe_of({name: questions[name]})


def _cell(axes, bindings, data, flags):
  if (question := axes.get('question')) is not None:
    recipe = _recipe_for(data, question)
    axes = axes | {'recipe': axes['recipe'] or recipe}
    own = f'question.name = {question!r}'
  else:
    own = f'history_limits.items = {axes["max_history"]}'
  bindings = (
    *bindings,
    own,
    f'train.tuning = {axes["tuning"]!r}',
    f'DECODER = {axes["backbone"]!r}',
    f'train.seed = {axes["seed"]}',
  )
  gin.clear_config()
  recipes.parse_recipes(_recipes(axes), [*bindings, *_NO_DATA])
  config = gin.config_str()
  gin.clear_config()
  decides = [axes, config, data_files.checksums(data)]
  if any(flags.values()):
    decides.append(flags)
  # Recipes and backbones may be paths.
  named = [str(x) for x in axes.values() if x != '']
  short = [x.removesuffix('.gin').rpartition('/')[2] for x in named]
  return Cell(axes, bindings, '-'.join([*short, digest_settings(decides)]), config)
