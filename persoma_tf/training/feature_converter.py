"""Converts SeqIO examples to model features: task prompt, answer and history.

The native trainer and the T5X model class use the same features, for decoder-only and
encoder-decoder models. The task prompt is in `encoder_input_tokens` [T], the answer in
`decoder_target_tokens` [L]. `decoder_input_tokens` [L] is the answer shifted right,
after a start token with id 0; `decoder_loss_weights` [L] is 0 on padding.
"""

import seqio
import tensorflow as tf

_SPEC = seqio.FeatureConverter.FeatureSpec
HISTORY_FEATURES = {
  'history_embeddings': _SPEC(dtype=tf.float32, rank=2),
  'history_mask': _SPEC(dtype=tf.int32),
}
SUPERVISION_FEATURES = {
  'answer_slots': _SPEC(dtype=tf.int32),
  'history_statistics': _SPEC(dtype=tf.float32),
}


class HistoryFeatureConverter(seqio.EncDecFeatureConverter):
  """Adds `history_embeddings` [N, H] and `history_mask` [N] to the model features.

  With `supervision` it also adds `answer_slots` [K] int32, the target word of each soft
  token, and `history_statistics` [S] float32, regression targets with nan for missing
  values.
  """

  def __init__(
    self, pack: bool = False, supervision: bool = False, pad: bool = True, **kwargs
  ):
    """Makes the converter.

    Args:
      pack: must be False; the argument exists because T5X passes it.
      supervision: whether the task has `answer_slots` and `history_statistics`.
      pad: whether to pad every feature to its limit. If False, examples keep their own
        lengths, and `persoma_tf.training.batching` pads whole batches.
      **kwargs: arguments of SeqIO's converter.

    Raises:
      ValueError: `pack` is True; two users' histories cannot share a row.
    """
    if pack:
      raise ValueError('history features cannot be packed: set pack=False')
    extra = {**HISTORY_FEATURES, **(SUPERVISION_FEATURES if supervision else {})}
    super().__init__(
      pack=False, passthrough_features=extra, apply_length_check=pad, **kwargs
    )
    self._pad = pad

  def _pack_or_pad(self, ds, packed_lengths):
    return super()._pack_or_pad(ds, packed_lengths) if self._pad else ds
