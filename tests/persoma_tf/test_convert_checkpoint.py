"""A conversion begins with what was trained, or leaves nothing behind."""

import gin
import jax
import numpy as np
import pytest
from flax import traverse_util

from persoma_tf import convert_checkpoint, gin_settings
from persoma_tf.parameters import checkpoints
from tests import tiny

pytestmark = pytest.mark.assets


@pytest.fixture
def arguments(assets, folders, tiny_decoder, tmp_path):
  """Arguments of a conversion to `model`, of the decoder alone."""
  assets('smollm2-135m-instruct')  # the vocabulary
  histories, embeddings = folders
  bindings = [f"build.decoder='{tiny_decoder}'"]
  bindings += [x.replace(' = ', '=', 1) for x in tiny.RECIPE]
  return [
    '--gin_file=runs/perceiver.gin',
    f'--histories_dir={histories}',
    f'--embeddings_dir={embeddings}',
    f'--output_dir={tmp_path / "model"}',
    *(f'--gin.{x}' for x in bindings),
  ]


def test_another_model_leaves_no_folder(arguments, tmp_path):
  other = {'adapter': {'nothing': np.zeros(3, np.float32)}}
  checkpoints.save(checkpoints.manager(str(tmp_path / 'other')), 0, other, {})
  with pytest.raises(ValueError, match='the checkpoint does not fit the model'):
    convert_checkpoint.main(
      [*arguments, f'--checkpoint={tmp_path / "other/checkpoint_0"}']
    )
  assert not (tmp_path / 'model').exists()


def convert(arguments):
  """Runs the command as the only one of its process."""
  gin.clear_config()
  convert_checkpoint.main(arguments)


def test_a_start_has_what_was_trained_and_the_decoder(arguments, tmp_path):
  convert(arguments)
  before = checkpoints.load_params(str(tmp_path / 'model/checkpoint_0'))
  # As the trainer leaves it: without the frozen decoder.
  trained = {'adapter': jax.tree.map(lambda x: x + 1, before['adapter'])}
  checkpoints.save(checkpoints.manager(str(tmp_path / 'model')), 5, trained, {})
  output = f'--output_dir={tmp_path / "start"}'
  start = f'--start={tmp_path / "model/checkpoint_5"}'
  convert([*arguments, output, start])
  after = checkpoints.load_params(str(tmp_path / 'start/checkpoint_0'))
  jax.tree.map(np.testing.assert_array_equal, after, {**before, **trained})
  # LoRA's parameters may be new, those of another recipe are not taken.
  lora = '--gin.train.tuning="lora"'
  convert([*arguments, f'{output}_of_lora', start, lora])
  begin = f'{tmp_path / "start_of_lora"}/checkpoint_0'
  added = traverse_util.flatten_dict(checkpoints.load_params(begin)['decoder'], sep='/')
  assert any(path.endswith('lora_a') for path in added)
  with pytest.raises(
    ValueError, match=r'checkpoint_0 does not fit .* unknown .*lora_a'
  ):
    convert([*arguments, f'{output}_without', f'--start={begin}'])
  inputs = tmp_path / 'model' / 'inputs.json'
  inputs.write_text(inputs.read_text().replace('"decoder": "', '"decoder": "another'))
  with pytest.raises(ValueError, match='not the inputs that the run began with'):
    convert([*arguments, f'{output}_of_another_decoder', start])
  inputs.unlink()
  with pytest.raises(ValueError, match=r'no inputs\.json in the folder above'):
    convert([*arguments, f'{output}_of_an_unknown_decoder', start])


def test_a_conversion_records_a_type_that_a_training_can_go_on_with(
  arguments, tmp_path
):
  """T5X trains in float32, whatever this machine multiplies fastest."""
  convert_checkpoint.main(arguments)
  text = (tmp_path / 'model' / 'config.gin').read_text()
  assert gin_settings.settings(text)['train.dtype'] == 'float32'
