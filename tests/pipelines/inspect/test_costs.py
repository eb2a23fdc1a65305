"""The estimate of a recipe, against the folder that a run of it writes."""

import pytest

from persoma_tf.training import trainer
from persoma_tf.training.training_run import Recipe, TrainingRun
from pipelines.inspect import costs, folder_contents, printed

pytestmark = pytest.mark.assets


def test_the_sizes_are_those_of_a_run(recipe, tmp_path):
  recipe('train.validation_examples = 4')
  found = costs.estimate_costs(TrainingRun(Recipe()), steps=1)
  trainer.train(str(tmp_path))
  histories, decoder = found['stages']
  assert (histories['stage'], histories['steps']) == ('histories', 6)
  assert (decoder['batch_size'], decoder['steps']) == (2, 5)
  point = folder_contents.describe_folder(str(tmp_path))['checkpoints']['checkpoint_11']
  # A checkpoint has the adapter and its optimizer, but no frozen decoder.
  assert 4 * point['parameters'] < found['checkpoint_bytes'] < found['parameter_bytes']
  assert found['peak_memory_bytes'] > found['parameter_bytes']
  for stage in found['stages']:
    parts = stage['steps'] * stage['seconds_a_step']
    parts += stage['compile_seconds'] + stage['validation_seconds']
    assert stage['seconds'] == pytest.approx(parts)
    assert min(stage['seconds_a_step'], stage['validation_seconds']) > 0
    assert stage['soft_tokens'] > 6  # six slots, and the words of the answer's form
  shown = printed.format_costs(found)
  assert 'histories: ' in shown
  assert '5 steps of 2 examples' in shown


def test_too_few_steps():
  with pytest.raises(ValueError, match='steps=0: expected at least 1'):
    costs.estimate_costs(None, steps=0)
