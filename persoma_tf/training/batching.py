"""Makes streams of training batches, with examples of similar length in a batch.

Every padded position costs as much as a real one. The lengths of histories and answers
differ by a factor of several, so a batch of examples of similar length, padded to this
length, is cheaper than a batch that is padded to the limit. Lengths are rounded up to
quarters of the limit, which gives few shapes and few compilations.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import seqio
import tensorflow as tf

from persoma_tf.training.feature_converter import HistoryFeatureConverter

# Value of `Stage.group_by` -> features of the same length; the first one is measured.
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
  """Returns an endless, shuffled stream of batches of model features, each [B, ...].

  Args:
    task: name of a registered SeqIO task or mixture.
    split: name of the split.
    lengths: maximum length of each task feature.
    batch_size: B.
    seed: seed of the shuffling and of random examples; the same seed gives the same
      stream.
    group_by: key of `GROUPS`; its features are padded to a quarter, half, three
      quarters or all of their limit, and a batch has examples of the same padded
      length. '' pads all features to their limits.

  Raises:
    ValueError: the features of `group_by` are empty in this task, or an example is
      longer than `lengths` allow.
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
    trim_output_features=False,
  )
  limits = converter.get_model_feature_lengths(lengths)
  dataset = _padded(dataset, limits, batch_size, group_by)
  return _explained(dataset.prefetch(2).as_numpy_iterator(), task, lengths)


def _explained(batches, task, lengths):
  """Yields batches; an error of the task's own code keeps only its words."""
  try:
    yield from batches
  except tf.errors.OpError as error:
    if 'pad to a smaller size' in str(error):
      raise ValueError(
        f'task {task}: an example is longer than the feature lengths allow, which are '
        f'{dict(lengths)}'
      ) from error
    said = re.search(r'\w+Error: (.+)', str(error))
    if not said:
      raise
    raise ValueError(said[1]) from error


def _padded(dataset, limits, batch_size, group_by):
  """Pads and batches a dataset of unpadded examples."""
  rank = {name: len(spec.shape) for name, spec in dataset.element_spec.items()}

  def pad(rows, sizes):
    # -1: all vectors of a batch have the same width, which needs no padding.
    shapes = {name: [size] + [-1] * (rank[name] - 1) for name, size in sizes.items()}
    return rows.padded_batch(batch_size, shapes, drop_remainder=True)

  if not group_by:
    return pad(dataset, limits)
  grouped = GROUPS[group_by]
  limit = limits[grouped[0]]
  if not limit:
    raise ValueError(f'group_by={group_by!r}: the task leaves {grouped[0]} empty')

  def parts_of(example):
    size = tf.shape(example[grouped[0]])[0]
    return tf.cast(tf.maximum(-(-size * _PARTS // limit), 1), tf.int64)

  def pad_group(parts, rows):
    size = -(-parts * limit // _PARTS)
    return pad(rows, limits | dict.fromkeys(grouped, size))

  return dataset.group_by_window(parts_of, pad_group, batch_size)
