"""Streams of training batches, in which examples of like length stand together.

Every padded position costs a batch as much as a real one. Histories and answers differ
several times in length, so a batch of like ones, padded to what they need, is cheaper
than one that is padded to the limit. Lengths are rounded up to quarters of the limit:
few shapes, few compilations.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import seqio
import tensorflow as tf

from persoma_tf.training.feature_converter import HistoryFeatureConverter

# What a stage can group by -> the features that have this length.
GROUPS = {
  'history': ('history_embeddings', 'history_mask'),
  'inputs': ('encoder_input_tokens',),
  'targets': ('decoder_target_tokens', 'decoder_input_tokens', 'decoder_loss_weights'),
}
_PARTS = 4


def training_batches(
  task: str,
  split: str,
  lengths: Mapping[str, int],
  batch_size: int,
  seed: int,
  group_by: str = '',
) -> Iterator[dict[str, np.ndarray]]:
  """An endless shuffled stream of model features, each [B, ...].

  Args:
    task: name of a registered SeqIO task or mixture.
    split: of the task.
    lengths: the most that every task feature may have.
    batch_size: B.
    seed: the same seed gives the same stream.
    group_by: of `GROUPS`: its features are padded to a quarter, half, three quarters or
      all of their limit, and a batch holds examples that need the same. '' pads
      everything to its limit.

  Raises:
    ValueError: the task has nothing to group by.
  """
  converter = HistoryFeatureConverter(supervision='answer_slots' in lengths, pad=False)
  dataset = seqio.get_dataset(
    task,
    dict(lengths),
    dataset_split=split,
    shuffle=True,
    num_epochs=None,
    feature_converter=converter,
    seed=seed,
  )
  limits = converter.get_model_feature_lengths(lengths)
  dataset = _padded(dataset, limits, batch_size, group_by)
  return dataset.prefetch(2).as_numpy_iterator()


def _padded(dataset, limits, batch_size, group_by):
  """Batches of examples that keep their own lengths until here."""
  rank = {name: len(spec.shape) for name, spec in dataset.element_spec.items()}

  def pad(rows, sizes):
    # -1: the vectors of a batch have one width.
    shapes = {name: [size] + [-1] * (rank[name] - 1) for name, size in sizes.items()}
    return rows.padded_batch(batch_size, shapes, drop_remainder=True)

  if not group_by:
    return pad(dataset, limits)
  together = GROUPS[group_by]
  limit = limits[together[0]]
  if not limit:
    raise ValueError(f'group_by={group_by!r}: the task leaves {together[0]} empty')

  def parts_of(example):
    size = tf.shape(example[together[0]])[0]
    return tf.cast(tf.maximum(-(-size * _PARTS // limit), 1), tf.int64)

  def pad_group(parts, rows):
    size = -(-parts * limit // _PARTS)
    return pad(rows, limits | dict.fromkeys(together, size))

  return dataset.group_by_window(parts_of, pad_group, batch_size)
