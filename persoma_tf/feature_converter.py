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

  def __init__(self, pack: bool = False, supervision: bool = False, **kwargs):
    """Makes the converter.

    Raises:
      ValueError: `pack` is set; two users' histories cannot share a row.
    """
    if pack:
      raise ValueError('history features cannot be packed: set pack=False')
    extra = {**HISTORY_FEATURES, **(SUPERVISION_FEATURES if supervision else {})}
    super().__init__(pack=False, passthrough_features=extra, **kwargs)
