"""SeqIO examples to model features: prompt and answer with the history beside them.

What the native trainer and a T5X model class share, for decoder-only models and for
encoder-decoders: the task prompt in `encoder_input_tokens` [T], the answer in
`decoder_target_tokens` [L] and, shifted right behind a start token of id 0, in
`decoder_input_tokens` [L]; `decoder_loss_weights` [L] is 0 on padding.
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
  """Adds `history_embeddings` [N, H] and `history_mask` [N].

  And, where the task has them, `answer_slots` [K] int32, the word that each soft
  token should stand for, and `history_statistics` [S] float32, dense targets with
  nan where there is none.
  """

  def __init__(
    self, pack: bool = False, supervision: bool = False, pad: bool = True, **kwargs
  ):
    """Makes the converter.

    Args:
      pack: must be False; T5X passes it.
      supervision: whether the task has `answer_slots` and `history_statistics`.
      pad: whether every feature is padded to its limit. Without, examples keep their
        own lengths (`persoma_tf.training.batching` pads a batch to what it needs).
      **kwargs: of SeqIO's converter.

    Raises:
      ValueError: `pack` is set; two users' histories cannot share a row.
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
