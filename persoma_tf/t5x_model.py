"""PERSOMA as a T5X model; the only module that imports t5x.

Flax modules, losses, masks and checkpoints are shared with the native trainer. Here are
the parts that T5X needs: variables with named axes, an optimizer that skips frozen
parameters, and T5X's search for answers (`t5x.decoding`) on the decoder's cache. The
recipes are in `persoma_tf/configs/t5x/`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import clu.metrics
import flax
import jax
import jax.numpy as jnp
import optax
from flax import traverse_util
from jax import Array
from t5x import decoding, losses, models, optimizers, partitioning

from persoma_tf import model as persoma
from persoma_tf import recipes
from persoma_tf.answer_form import AnswerTemplate
from persoma_tf.decoders.attention import KeysValues
from persoma_tf.losses import mean_losses
from persoma_tf.model import Persoma, Prompts
from persoma_tf.parameters import axis_names, freezing, lora
from persoma_tf.training import (
  answer_vocabulary,
  training_run,  # noqa: F401  registers configurables
)
from persoma_tf.training.feature_converter import HistoryFeatureConverter
from persoma_tf.training.stages import Stage, make_optimizer


def make_module(
  task: str,
  feature_lengths: Mapping[str, int],
  answer: AnswerTemplate | None = None,
  with_statistics: bool = True,
) -> Persoma:
  """Builds the model of a recipe (`persoma_tf.model.build`) like the native trainer.

  Args:
    task: SeqIO task or mixture; its vocabulary encodes the answer template.
    feature_lengths: lengths of the task's features.
    answer: answer template of the recipe, `train.answer`; None for other readouts.
    with_statistics: whether the adapter has a head for `history_statistics`.
  """
  size = feature_lengths['history_statistics'] if with_statistics else 0
  recipes.bind_parameter('build.num_statistics', size)
  answer_vocabulary.bind_template(answer, task)
  answer_vocabulary.bind_order(task)
  return persoma.build()[0]


class PersomaModel(models.BaseTransformerModel):
  """Implements T5X's model interface for `t5x.train`, `t5x.eval` and `t5x.infer`."""

  FEATURE_CONVERTER_CLS = HistoryFeatureConverter

  def __init__(
    self,
    module: Persoma,
    task: str,
    stage: Stage,
    tuning: str = 'frozen',
    beams: int = 1,
    length_penalty: float = 0.0,
    decode_fn: Callable | None = None,
    seed: int = 0,
  ):
    """Makes the model of a recipe.

    Args:
      module: module that `make_module` has built.
      task: SeqIO task or mixture; its vocabulary is the model's vocabulary.
      stage: losses (without `soft_targets`), optimizer and trainable parameters. Batch
        size and steps are set in T5X; `steps` only shapes the learning rate.
      tuning: 'frozen', 'lora' or 'full', how the decoder is trained.
      beams: number of beams in the search for an answer; 1 for greedy search.
      length_penalty: `alpha` of T5X's beam search; with 0 the log-probability decides.
      decode_fn: search of `t5x.decoding`; by default beam or greedy search.
      seed: seed of LoRA's initial values.
    """
    stage.check_adapter(module.adapter)
    if stage.soft_targets:
      raise ValueError('Stage.soft_targets: T5X has answers as targets; expected 0')
    self._lora_seed = seed if tuning == 'lora' else None
    patterns = freezing.tuned(tuning) if stage.lm_weight else ()
    self._stage, self._trainable = stage, (*stage.trainable, *patterns)
    self._beams, vocabulary = beams, answer_vocabulary.vocabulary_of(task)
    super().__init__(
      module,
      input_vocabulary=vocabulary,
      output_vocabulary=vocabulary,
      optimizer_def=optimizers.OptaxWrapper(optimizer(stage, self._trainable)),
      decode_fn=decode_fn or _search(beams, length_penalty),
      loss_normalizing_factor=losses.SpecialLossNormalizingFactor.NUM_REAL_TARGET_TOKENS,
    )

  def get_initial_variables(
    self,
    rng: Array,
    input_shapes: Mapping[str, tuple[int, ...]],
    input_types: Mapping[str, Any] | None = None,
  ) -> flax.core.FrozenDict:
    """Returns random parameters with the names of their axes.

    T5X needs their shapes only. A run starts from a checkpoint with all parameters that
    `persoma_tf.convert_checkpoint` made: they depend on the decoder and on the data.
    """
    types = input_types or {}
    batch = {x: jnp.zeros(s, types.get(x, jnp.int32)) for x, s in input_shapes.items()}
    params = flax.core.unfreeze(self.module.init(rng, batch)['params'])
    if self._lora_seed is not None:
      params['decoder'] = lora.add_lora(params['decoder'], self._lora_seed)
    return flax.core.freeze(
      {'params': params, 'params_axes': axis_names.axis_names_of(params)}
    )

  def _compute_logits(self, params, batch, dropout_rng=None):
    del dropout_rng  # the model has no dropout
    return self._logits(params, batch, self._stage.teach)

  def _logits(self, params, batch, teach):
    return self.module.apply({'params': params}, batch, teach, method='target_logits')

  def loss_fn(self, params, batch, dropout_rng):
    """Returns the stage's loss and metrics; frozen parameters get no gradient."""
    trainable, frozen = freezing.split_params(
      flax.core.unfreeze(params), self._trainable
    )
    params = freezing.join_params(trainable, jax.lax.stop_gradient(frozen))
    stage, loss, metrics = self._stage, 0.0, {}
    if stage.lm_weight:
      loss, metrics = super().loss_fn(params, batch, dropout_rng)
      loss *= stage.lm_weight
    if stage.without_decoder:
      found = mean_losses(self.module, params, batch, lm=False)
      for name, value in found.items():
        if weight := stage.weight(name, self.module.adapter.questions):
          loss += weight * value
          metrics[name] = clu.metrics.Average.from_model_output(value)
    return loss, metrics

  def score_batch(self, params, batch, return_intermediates=False):
    """Returns the log-likelihood [B] of the targets, in nats."""
    del return_intermediates
    losses = optax.softmax_cross_entropy_with_integer_labels(
      self._logits(params, batch, False).astype(jnp.float32),
      batch['decoder_target_tokens'],
    )
    return -jnp.sum(losses * batch['decoder_loss_weights'], axis=-1)

  def predict_batch_with_aux(
    self,
    params,
    batch,
    rng=None,
    *,
    num_decodes: int | None = None,
    return_all_decodes: bool = False,
    decoder_params: Mapping[str, Any] | None = None,
  ) -> tuple[Array, dict[str, Array]]:
    """Returns answers [B, L], padded with 0, and their scores {'scores': [B]}.

    Args:
      params: all parameters.
      batch: features of `HistoryFeatureConverter`, each [B, ...].
      rng: key for sampling.
      num_decodes: number of answers to search for each user; by default `beams`.
      return_all_decodes: whether to return all answers, [B, num_decodes, L], best last.
      decoder_params: further arguments of `decode_fn`.
    """
    call = lambda method, *args: self.module.apply(
      {'params': params}, *args, method=method
    )
    soft = call(Persoma.soft_prompt_of, batch)
    empty = jnp.zeros_like(batch['decoder_input_tokens'])
    start = call(Persoma.prefill, soft, Prompts.of(batch), empty.shape[1])
    leaves, structure = jax.tree.flatten(
      start, is_leaf=lambda x: isinstance(x, KeysValues)
    )

    def tokens_to_logits(state: decoding.DecodingState):
      """Returns the next token's logits and the cache; call 0 reads no token."""
      calls = state.cache['calls'][_SCALAR]
      hidden, cache = structure.unflatten(_from_t5x(state.cache['leaves']))
      hidden, cache = jax.lax.cond(
        calls == 0,
        lambda: (hidden, cache),
        lambda: call(Persoma.step, state.cur_token[:, 0], cache),
      )
      logits = call(Persoma.logits, hidden).astype(jnp.float32)
      leaves = structure.flatten_up_to((hidden, cache))
      return logits, {'leaves': _to_t5x(leaves), 'calls': {_SCALAR: calls + 1}}

    decodes, scores = self._decode_fn(
      inputs=empty,
      cache={'leaves': _to_t5x(leaves), 'calls': {_SCALAR: jnp.int32(0)}},
      tokens_to_logits=tokens_to_logits,
      eos_id=self.output_vocabulary.eos_id,
      num_decodes=num_decodes or self._beams,
      decode_rng=rng,
      cache_offset=1,
      **(decoder_params or {}),
    )
    if return_all_decodes:
      return decodes, {'scores': scores}
    return decodes[:, -1], {'scores': scores[:, -1]}


def _search(beams: int, length_penalty: float) -> Callable:
  if beams > 1:
    return functools.partial(decoding.beam_search, alpha=length_penalty)
  # Greedy search, with scores from the model's own log-probabilities.
  return functools.partial(
    decoding.temperature_sample, topk=1, temperature=1.0, rescale_log_probs=False
  )


def optimizer(stage: Stage, trainable: tuple[str, ...]) -> optax.GradientTransformation:
  """Makes the stage's optimizer; frozen parameters get no updates and no moments."""

  def labels(params):
    frozen = freezing.split_params(flax.core.unfreeze(params), trainable)[1]
    flat = traverse_util.flatten_dict(flax.core.unfreeze(params), sep='/')
    flat = {path: 'frozen' if path in frozen else 'trained' for path in flat}
    tree = traverse_util.unflatten_dict(flat, sep='/')
    return flax.core.freeze(tree) if isinstance(params, flax.core.FrozenDict) else tree

  return optax.multi_transform(
    {'trained': make_optimizer(stage), 'frozen': optax.set_to_zero()}, labels
  )


def axis_rules() -> list[tuple[str, str | None]]:
  """Returns T5X's standard axis rules and rules for axes that are not partitioned."""
  return [
    *partitioning.standard_logical_axis_rules(),
    *((name, None) for name in axis_names.WHOLE),
  ]


# T5X's search repeats and reorders all leaves of a cache along the batch, but this.
_SCALAR = 'position_embedder_index'


def _to_t5x(leaves: list) -> dict:
  """Converts the leaves of a cache to T5X's form, which has the batch on axis 1."""
  return {
    f'{place:02}': dict(leaf._asdict())
    if isinstance(leaf, KeysValues)
    else {'value': leaf[None]}
    if leaf.ndim
    else {_SCALAR: leaf}
    for place, leaf in enumerate(leaves)
  }


def _from_t5x(cache: Mapping) -> list:
  """Inverts `_to_t5x`."""
  leaves = []
  for _, entry in sorted(cache.items()):
    if 'keys' in entry:
      leaves.append(KeysValues(**entry))
    else:
      leaves.append(entry['value'][0] if 'value' in entry else entry[_SCALAR])
  return leaves


def target_only(
  stored: Mapping[str, Any], wanted: Mapping[str, Any], *, is_resuming: bool = False
) -> Mapping[str, Any]:
  """Takes the parameters of a checkpoint, but not the state of its optimizer.

  For `RestoreCheckpointConfig.state_transformation_fns`. All parameters are required:
  T5X would initialize missing ones at random, even in the decoder.

  Args:
    stored: T5X's state in the checkpoint, {'target': params, 'state': ...}.
    wanted: T5X's state of the model.
    is_resuming: whether the run is resumed; `stored` is then returned unchanged.

  Raises:
    ValueError: parameters are missing or unknown; the message names them.
  """
  if is_resuming:
    return stored
  flat = lambda state: set(traverse_util.flatten_dict(state['target'], sep='/'))
  found, expected = flat(stored), flat(wanted)
  if found != expected:
    raise ValueError(
      'the checkpoint does not fit the model: missing '
      f'{sorted(expected - found)[:5]}, unknown {sorted(found - expected)[:5]}; python '
      '-m persoma_tf.convert_checkpoint --start=<it> adds the decoder to a native one'
    )
  return {'target': stored['target'], 'state': {}}
