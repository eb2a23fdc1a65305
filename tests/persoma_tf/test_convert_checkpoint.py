"""A conversion that cannot be made leaves nothing behind."""

import numpy as np
import pytest

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


def test_a_conversion_records_a_type_that_a_training_can_go_on_with(
  arguments, tmp_path
):
  """T5X trains in float32, whatever this machine multiplies fastest."""
  convert_checkpoint.main(arguments)
  text = (tmp_path / 'model' / 'config.gin').read_text()
  assert gin_settings.settings(text)['train.dtype'] == 'float32'
