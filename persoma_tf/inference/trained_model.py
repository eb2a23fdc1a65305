"""Loads a trained adapter with its decoder, for answers."""

from collections.abc import Mapping

import jax
import numpy as np

from persoma_tf import model as persoma
from persoma_tf import operand_types
from persoma_tf.decoders import stack, start_tokens
from persoma_tf.parameters import checkpoints, freezing, lora, quantization


def trained_params(
  model: persoma.Persoma,
  params: Mapping,
  folder: str,
  decoder_sha256: str,
  history: tuple[int, int],
  asked: tuple[int, ...] = (),
) -> dict:
  """Returns {'adapter': ..., 'decoder': ...} of a trained model.

  Args:
    model: model of the adapter's recipe.
    params: parameters of the decoder from before the training.
    folder: folder of the adapter.
    decoder_sha256: fingerprint of `params`.
    history: shape [N, H] of a history's vectors.
    asked: shape [C, H'] of the vectors of items that are asked about; () without any.

  Raises:
    ValueError: the adapter was trained with another decoder, or lacks parameters.
  """
  trained = checkpoints.load_adapter(folder, decoder_sha256)
  found = freezing.overlay({'decoder': params}, trained)
  zeros = lambda *shape: np.zeros((1, *shape), np.float32)
  arguments = zeros(*history), np.zeros((1, history[0]), np.int32)
  more = {'asked': zeros(*asked), 'present': zeros(asked[0])} if asked else {}
  more |= {'question': np.zeros(1, np.int32)} if model.adapter.questions else {}
  start = lambda: model.adapter.init(jax.random.key(0), *arguments, **more)
  expected = jax.eval_shape(start).get('params', {})  # none without soft tokens
  checkpoints.check_same(expected, found.get('adapter', {}), folder)
  return found


def load_trained(
  model_dir: str, weights: str, history: tuple[int, int], asked: tuple[int, ...] = ()
) -> tuple[persoma.Persoma, dict]:
  """Returns the model in its fastest form, and its parameters on the device.

  LoRA is merged into float32 weights, other weights are converted, and the layers are
  unrolled.

  Args:
    model_dir: finished folder of `persoma_tf.train`.
    weights: type of the decoder's weights, see `Decoding`.
    history: shape [N, H] of a history's vectors.
    asked: see `trained_params`.

  Raises:
    ValueError: see `trained_params`.
  """
  model, params, _ = _read_trained(model_dir, history, asked)
  kind = operand_types.chosen_type(weights)
  decoder = params['decoder']
  if kind == 'float32':
    decoder = lora.merge_lora(decoder)
  tuned = quantization.converted(decoder, kind)
  module, tuned = stack.unrolled(model.decoder, tuned)
  return model.clone(decoder=module), jax.device_put({**params, 'decoder': tuned})


def for_question(
  model: persoma.Persoma, params: Mapping, number: int | None
) -> tuple[persoma.Persoma, Mapping]:
  """Returns a model without the drafts of other questions, and its parameters.

  They would be computed for nothing, and the decoder would read tokens for them. The
  user tokens and all parameters stay as they are.

  Args:
    model: trained model.
    params: its parameters.
    number: number of the question among those of the model; None for a model without a
      draft, whose decoder reads the user tokens alone.
  """
  drafts, questions = model.adapter.draft, [*model.adapter.questions]
  if drafts is None or not (questions or number is None):
    return model, params
  draft = None if number is None else drafts.drafts[number]
  own = {name: x for name, x in params['adapter'].items() if name != 'draft'}
  if draft is not None:
    own['draft'] = params['adapter']['draft'][questions[number]]
    draft = draft.clone(parent=None, name=None)
  adapter = model.adapter.clone(draft=draft)
  return model.clone(adapter=adapter), {**params, 'adapter': own}


def merged(
  model_dir: str, history: tuple[int, int], asked: int = 0
) -> tuple[persoma.Persoma, dict, str]:
  """Returns the model, its parameters with LoRA merged, and the decoder's name.

  Args:
    model_dir: finished folder of `persoma_tf.train`.
    history: shape [N, H] of a history's vectors.
    asked: see `trained_params`.

  Raises:
    ValueError: see `trained_params`.
  """
  model, params, name = _read_trained(model_dir, history, asked)
  return model, {**params, 'decoder': lora.merge_lora(params['decoder'])}, name


def _read_trained(model_dir, history, asked) -> tuple[persoma.Persoma, dict, str]:
  """Returns the model as it was trained, its parameters, and the decoder's name."""
  model, decoder = persoma.build()
  folder, sha256 = f'{model_dir}/adapter', checkpoints.fingerprint(decoder.params)
  params = trained_params(model, decoder.params, folder, sha256, history, asked)
  module = start_tokens.as_trained(model.decoder, checkpoints.adapter_manifest(folder))
  return model.clone(decoder=module), params, decoder.name
