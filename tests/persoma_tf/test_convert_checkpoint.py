"""A conversion that cannot be made leaves nothing behind."""

import numpy as np
import pytest

from persoma_tf import convert_checkpoint
from persoma_tf.parameters import checkpoints
from tests import tiny

pytestmark = pytest.mark.assets


def test_another_model_leaves_no_folder(assets, folders, tiny_decoder, tmp_path):
  assets('smollm2-135m-instruct')  # the vocabulary
  other = {'adapter': {'nothing': np.zeros(3, np.float32)}}
  checkpoints.save(checkpoints.manager(str(tmp_path / 'other')), 0, other, {})
  histories, embeddings = folders
  bindings = [f"build.decoder='{tiny_decoder}'"]
  bindings += [x.replace(' = ', '=', 1) for x in tiny.RECIPE]
  arguments = [
    '--gin_file=runs/quickstart.gin',
    f'--histories_dir={histories}',
    f'--embeddings_dir={embeddings}',
    f'--output_dir={tmp_path / "model"}',
    f'--checkpoint={tmp_path / "other/checkpoint_0"}',
    *(f'--gin.{x}' for x in bindings),
  ]
  with pytest.raises(ValueError, match='the checkpoint does not fit the model'):
    convert_checkpoint.main(arguments)
  assert not (tmp_path / 'model').exists()
