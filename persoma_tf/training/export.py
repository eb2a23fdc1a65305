"""Exports a finished run: the adapter without the decoder, and its model card."""

import functools
import json
import logging
import pathlib
from collections.abc import Mapping

import jax
import numpy as np
from flax import traverse_util

from persoma_tf import operand_types
from persoma_tf.gin_settings import settings
from persoma_tf.inference import generate, trained_model
from persoma_tf.model import Persoma, Prompts
from persoma_tf.parameters import checkpoints, freezing, quantization
from persoma_tf.training import model_card, model_record, run_inputs
from persoma_tf.training.answer_vocabulary import shared_prompt, vocabulary_of
from persoma_tf.training.training_run import TrainingRun
from persoma_tf.units import format_bytes

logger = logging.getLogger(__name__)
_SHORT = 2  # tokens of the answer that shows that the adapter can answer


def export_adapter(
  model_dir: str, run: TrainingRun, trained: Mapping, step: int
) -> None:
  """Writes the adapter and its model card, and marks the model folder as finished.

  Before that, the written adapter is loaded and answers one example.

  Args:
    model_dir: folder of the run, with `config.gin`.
    run: the run, with the decoder's weights from before the training.
    trained: flat dict from parameter path to array.
    step: number of finished steps.

  Raises:
    ValueError: the inputs have changed since the start, or the adapter cannot answer.
  """
  # Data that changed during the training is not what the manifest would say.
  run_inputs.check_inputs(pathlib.Path(model_dir), run_inputs.inputs_of_recipe())
  trained = jax.device_get(trained)
  sha256 = checkpoints.fingerprint(trained)
  decoder_sha256 = checkpoints.fingerprint(run.decoder.params)
  config = settings((pathlib.Path(model_dir) / 'config.gin').read_text())
  asked = run.asked()
  manifest = {
    'model_id': f'persoma-{step}-{sha256[:12]}',
    'sha256': sha256,
    'decoder': run.decoder.name,
    'decoder_sha256': decoder_sha256,
    'start_token': run.decoder.start_token,
    'prompt_parts': run.prompt_parts,
    'step': step,
    'dtype': operand_types.chosen_type(run.recipe.dtype),
    **_about_prompts(run, asked),
    'histories': model_record.histories_fingerprint(config),
    **model_record.trained_on(config),
  }
  folder = checkpoints.save_adapter(model_dir, trained, manifest)
  (folder / model_card.FILE).write_text(model_card.card_of_folder(model_dir))
  _check_answer(folder, run, decoder_sha256, next(iter(asked.values())))
  size = sum(path.stat().st_size for path in folder.iterdir())
  completed = json.dumps(
    {'job': 'persoma_tf.train', 'fingerprint': sha256, 'settings': {'step': step}}
  )
  file = pathlib.Path(model_dir) / 'COMPLETED'
  checkpoints.replace_file(file, f'{completed}\n'.encode())
  logger.info('wrote an adapter of %s to %s', format_bytes(size), folder)


def _about_prompts(run, asked):
  """Returns the facts of the manifest about histories and prompts.

  `history` tells whether histories are 'vectors' or 'text' in the prompt. `task_prompt`
  is the prompt of all users, else None; a mixture also has the prompt of each task.
  """
  prompts = {task: shared_prompt(task, batch) for task, batch in asked.items()}
  distinct = set(prompts.values())
  return {
    'history': 'vectors' if run.recipe.feature_lengths['history_mask'] else 'text',
    'task_prompt': distinct.pop() if len(distinct) == 1 else None,
    **({'task_prompts': prompts} if len(prompts) > 1 else {}),
  }


def _check_answer(folder, run, decoder_sha256, batch):
  """Checks that the adapter in a folder answers an example, with the loaded decoder."""
  one = {name: values[:1] for name, values in batch.items()}
  shape = one['history_embeddings'].shape[1:]
  asked = one['asked_embeddings'].shape[1:] if 'asked_embeddings' in one else ()
  found = trained_model.trained_params(
    run.model, run.decoder.params, str(folder), decoder_sha256, shape, asked
  )
  flat = traverse_util.flatten_dict(found, sep='/')
  params = freezing.join_params(
    quantization.frozen_operands(flat, operand_types.chosen_type(run.recipe.dtype)), {}
  )
  task = generate.Task(vocabulary_of(run.recipe.task).eos_id, _SHORT)
  answer = jax.jit(functools.partial(_answer, run.model, task))
  log_prob = answer(params, one).log_prob
  if not np.isfinite(log_prob).all():
    raise ValueError(
      f'{folder}: the adapter gives an answer with a log probability of {log_prob[0]}; '
      'expected a finite number: train again with a lower learning rate, or float32 as '
      'train.dtype'
    )


def _answer(model, task, params, batch):
  soft = model.apply({'params': params}, batch, method=Persoma.soft_prompt_of)
  return generate.greedy(model, params, soft, Prompts.of(batch), task)
