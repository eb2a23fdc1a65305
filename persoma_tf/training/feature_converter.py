"""Converts SeqIO examples to model features: task prompt, answer and history.

The native trainer and the T5X model class use the same features, for decoder-only and
encoder-decoder models. The task prompt is in `encoder_input_tokens` [T], the answer in
`decoder_target_tokens` [L]. `decoder_input_tokens` [L] is the answer shifted right,
after a start token with id 0. `encoder_input_mask` [T] and `decoder_loss_weights` [L]
are 0 on padding and 1 elsewhere; in many vocabularies id 0 is a word, so the tokens
alone do not tell.
"""

from collections.abc import Mapping

import seqio
import tensorflow as tf

from persoma_tf.training.vector_rows import ROWS

_SPEC = seqio.FeatureConverter.FeatureSpec
HISTORY_FEATURES = {
  'history_embeddings': _SPEC(dtype=tf.float32, rank=2),
  'history_mask': _SPEC(dtype=tf.int32),
}
# Model feature -> task feature of the same length, whose padding it tells.
_MASKED = {'encoder_input_mask': 'inputs', 'decoder_loss_weights': 'targets'}
_MASKS = dict.fromkeys(_MASKED, _SPEC(dtype=tf.int32))
# Features that a task may have, for losses that need no decoder: the target word of
# each slot [S]; regression targets [M], nan for missing values; E interactions with
# known categories [E, G] and values [E]; the vectors of C items that are asked about
# [C, H'], and of a ranking which are no padding [C]; the number of the question [1],
# for a model that answers several; rows of vectors in tables, [N, T], [E, T], [C, 1].
OPTIONAL_FEATURES = {
  'answer_slots': _SPEC(dtype=tf.int32),
  'history_statistics': _SPEC(dtype=tf.float32),
  'known_embeddings': _SPEC(dtype=tf.float32, rank=2),
  'known_categories': _SPEC(dtype=tf.float32, rank=2),
  'known_values': _SPEC(dtype=tf.float32),
  'asked_embeddings': _SPEC(dtype=tf.float32, rank=2),
  'asked_mask': _SPEC(dtype=tf.int32),
  'question': _SPEC(dtype=tf.int32),
  **{name: _SPEC(dtype=tf.int32, rank=2) for name in ROWS.values()},
}


class HistoryFeatureConverter(seqio.EncDecFeatureConverter):
  """Adds `history_embeddings` [N, H] and `history_mask` [N] to the model features.

  It also adds those of OPTIONAL_FEATURES that the feature lengths name.
  """

  def __init__(self, pack: bool = False, pad: bool = True, **kwargs):
    """Makes the converter.

    Args:
      pack: must be False; the argument exists because T5X passes it.
      pad: whether to pad every feature to its limit. If False, examples keep their own
        lengths, and `persoma_tf.training.batching` pads whole batches.
      **kwargs: arguments of SeqIO's converter.

    Raises:
      ValueError: `pack` is True; two users' histories cannot share a row.
    """
    if pack:
      raise ValueError('history features cannot be packed: set pack=False')
    super().__init__(
      pack=False,
      passthrough_features=dict(HISTORY_FEATURES),
      apply_length_check=pad,
      **kwargs,
    )
    self._pad = pad

  def __call__(
    self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
  ) -> tf.data.Dataset:
    """Converts examples with the features that the lengths name."""
    self._add_features(task_feature_lengths)
    return super().__call__(ds.map(_with_masks), _with_lengths(task_feature_lengths))

  def get_model_feature_lengths(
    self, task_feature_lengths: Mapping[str, int]
  ) -> Mapping[str, int]:
    """Returns the length of each model feature."""
    self._add_features(task_feature_lengths)
    return super().get_model_feature_lengths(_with_lengths(task_feature_lengths))

  def _add_features(self, lengths):
    self._passthrough_features = {
      **HISTORY_FEATURES,
      **_MASKS,
      **{name: spec for name, spec in OPTIONAL_FEATURES.items() if name in lengths},
    }

  def _pack_or_pad(self, ds, packed_lengths):
    return super()._pack_or_pad(ds, packed_lengths) if self._pad else ds


@tf.autograph.experimental.do_not_convert
def _with_masks(example):
  return example | {
    name: tf.ones_like(example[feature], tf.int32) for name, feature in _MASKED.items()
  }


def _with_lengths(lengths):
  return lengths | {name: lengths[feature] for name, feature in _MASKED.items()}
