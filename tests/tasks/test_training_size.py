"""Steps and batches that follow from the data, and numbers that win."""

import json

import gin
import pytest

from persoma_tf.gin_settings import settings
from persoma_tf.training.stages import Stage
from tasks import training_size

RULES = """
a/Stage.name = 'a'
a/Stage.learning_rate = 0.1
a/Stage.steps = @steps_for_data()
a/Stage.batch_size = @batch_for_data()
a/steps_for_data.passes = 3
a/steps_for_data.least = 40
a/steps_for_data.most = 400
"""
LISTS = {'prompt': 'x', 'likes': 'A', 'dislikes': ' b', 'none': 'no', 'most': 1}
CHOICE = {'kind': 'choice', 'prompt': 'x', 'options': ['A', 'B'], 'asks_item': False}


@pytest.fixture
def stage(tmp_path):
  """A function (words, counts, *bindings) -> the stage of such a folder."""

  def make(words, counts, *bindings):
    info = {'dataset': {'questions': {'a_v1': words}}, 'counts': counts}
    if 'examples' in counts:  # and as many without an answer
      number = counts['examples']['a_v1']['train']
      info['examples'] = {'a_v1': {'answers': {'train': {'A': number, '': number}}}}
    (tmp_path / 'dataset_info.json').write_text(json.dumps(info))
    gin.clear_config()
    gin.parse_config(
      [
        f'data_folders.histories_dir = {str(tmp_path)!r}',
        "data_folders.embeddings_dir = 'e'",
        *RULES.splitlines(),
        *bindings,
      ]
    )
    with gin.config_scope('a'):
      return Stage()

  return make


@pytest.mark.parametrize(
  ('examples', 'batch', 'steps'),
  [(5, 8, 40), (300, 16, 57), (1_000, 32, 94), (5_000, 64, 235), (10**6, 64, 400)],
)
def test_the_rule(stage, examples, batch, steps):
  counts = {'users': {'train': 7}, 'examples': {'a_v1': {'train': examples}}}
  made = stage(CHOICE, counts)
  assert (made.batch_size, made.steps) == (batch, steps)
  assert steps in (40, 400) or steps == -(-3 * examples // batch)
  of_users = stage(LISTS, {'users': {'train': examples}})
  assert (of_users.batch_size, of_users.steps) == (batch, steps)


def test_numbers_win(stage):
  counts = {'users': {'train': 1_000}}
  made = stage(LISTS, counts, 'a/Stage.batch_size = 10', 'a/Stage.steps = 2')
  assert (made.batch_size, made.steps) == (10, 2)
  made = stage(LISTS, counts, 'a/Stage.batch_size = 10')
  assert (made.batch_size, made.steps) == (10, 300), 'steps follow the batch'


def test_the_configuration_tells_the_numbers(stage):
  stage(LISTS, {'users': {'train': 1_000}})
  with gin.config_scope('a'):
    Stage()
  found = settings(gin.operative_config_str())
  assert (found['a/Stage.steps'], found['a/Stage.batch_size']) == (94, 32)
  assert training_size.num_examples() == 1_000


def test_a_rule_in_the_scope_of_its_stage(stage):
  """As the recipes name it; the number then is the stage's own."""
  rules = 'a/Stage.steps = @a/steps_for_data()', 'a/Stage.batch_size = 16'
  assert stage(LISTS, {'users': {'train': 1_000}}, *rules).steps == 188
  assert gin.query_parameter('a/Stage.steps') == 188
