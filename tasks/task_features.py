"""Names and types of the features that the tasks' examples have."""

import seqio
import tensorflow as tf

from tasks.vocabularies import VOCABULARY

_INTEGERS = seqio.PassThroughVocabulary(1)
# Interactions whose categories and values are known. Like the rows of vectors, they are
# there if the feature lengths name them, so they are not among the features that SeqIO
# expects of every example.
KNOWN_FEATURES = ('known_embeddings', 'known_categories', 'known_values')
ASKED = 'asked_embeddings'  # vectors of the items that an example is about
ASKED_MASK = 'asked_mask'  # 0 for padding among candidates
ASKED_FEATURE = seqio.ContinuousFeature(dtype=tf.float32, rank=2, required=False)
FEATURES = {
  'inputs': seqio.Feature(VOCABULARY, add_eos=False),
  'targets': seqio.Feature(VOCABULARY, add_eos=True),
  'history_embeddings': seqio.ContinuousFeature(dtype=tf.float32, rank=2),
  'history_mask': seqio.Feature(_INTEGERS, add_eos=False),
  'answer_slots': seqio.Feature(_INTEGERS, add_eos=False, required=False),
  'history_statistics': seqio.ContinuousFeature(
    dtype=tf.float32, rank=1, required=False
  ),
}
# Examples of questions have no statistics of categories.
EXAMPLE_FEATURES = {
  name: feature for name, feature in FEATURES.items() if name != 'history_statistics'
}
