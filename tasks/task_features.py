"""Names and types of the features that the tasks' examples have."""

import seqio
import tensorflow as tf

from persoma_tf.training.vector_rows import ROWS
from tasks.vocabularies import VOCABULARY

_INTEGERS = seqio.PassThroughVocabulary(1)
# Interactions whose categories and values are known.
KNOWN_FEATURES = {
  'known_embeddings': seqio.ContinuousFeature(dtype=tf.float32, rank=2, required=False),
  'known_categories': seqio.ContinuousFeature(dtype=tf.float32, rank=2, required=False),
  'known_values': seqio.ContinuousFeature(dtype=tf.float32, rank=1, required=False),
}
ROW_FEATURES = {
  name: seqio.Feature(_INTEGERS, add_eos=False, rank=2, required=False)
  for name in ROWS.values()
}
FEATURES = {
  'inputs': seqio.Feature(VOCABULARY, add_eos=False),
  'targets': seqio.Feature(VOCABULARY, add_eos=True),
  'history_embeddings': seqio.ContinuousFeature(dtype=tf.float32, rank=2),
  'history_mask': seqio.Feature(_INTEGERS, add_eos=False),
  'answer_slots': seqio.Feature(_INTEGERS, add_eos=False, required=False),
  'history_statistics': seqio.ContinuousFeature(
    dtype=tf.float32, rank=1, required=False
  ),
  **KNOWN_FEATURES,
  **ROW_FEATURES,
}
