"""Exports a finished run: the adapter without the decoder, and its model card."""

import json
import logging
import pathlib
from collections.abc import Mapping

import jax

from persoma_tf.decoders import LoadedDecoder
from persoma_tf.gin_settings import settings
from persoma_tf.parameters import checkpoints
from persoma_tf.training import model_card, model_record
from persoma_tf.units import format_bytes

logger = logging.getLogger(__name__)


def export_adapter(
  model_dir: str,
  trained: Mapping,
  decoder: LoadedDecoder,
  step: int,
  prompt: str | None,
) -> None:
  """Writes the adapter and its model card, and marks the model folder as finished.

  Args:
    model_dir: folder of the run, with `config.gin`.
    trained: flat dict from parameter path to array.
    decoder: decoder of the run, with the weights from before the training.
    step: number of finished steps.
    prompt: task prompt; None if each user has a different prompt.
  """
  trained = jax.device_get(trained)
  sha256 = checkpoints.fingerprint(trained)
  config = settings((pathlib.Path(model_dir) / 'config.gin').read_text())
  manifest = {
    'model_id': f'persoma-{step}-{sha256[:12]}',
    'sha256': sha256,
    'decoder': decoder.name,
    'decoder_sha256': checkpoints.fingerprint(decoder.params),
    'start_token': decoder.start_token,
    'step': step,
    'task_prompt': prompt,
    'histories': model_record.histories_fingerprint(config),
    **model_record.trained_on(config),
  }
  folder = checkpoints.save_adapter(model_dir, trained, manifest)
  (folder / model_card.FILE).write_text(model_card.card_of_folder(model_dir))
  size = sum(path.stat().st_size for path in folder.iterdir())
  completed = json.dumps({'fingerprint': sha256, 'settings': {'step': step}})
  (pathlib.Path(model_dir) / 'COMPLETED').write_text(completed + '\n')
  logger.info('wrote an adapter of %s to %s', format_bytes(size), folder)
