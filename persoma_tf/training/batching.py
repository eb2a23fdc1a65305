"""Makes streams of training batches, with examples of similar length in a batch.

A stream belongs to an endless sequence of examples: in every epoch each user comes
once, in an order that follows from the seed and the epoch alone. So the stream can
start behind any number of batches, and a resumed run needs no saved position.

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

from persoma_tf.training.feature_converter import (
  OPTIONAL_FEATURES,
  HistoryFeatureConverter,
)

# Value of `Stage.group_by` -> features of the same length; the first one is measured.
GROUPS = {
  'history': ('history_mask', 'history_embeddings', 'history_rows'),
  'inputs': ('encoder_input_tokens', 'encoder_input_mask'),
  'targets': ('decoder_target_tokens', 'decoder_input_tokens', 'decoder_loss_weights'),
}
_PARTS = 4
_WINDOW = 100  # batches that are grouped together; the last three may mix lengths
_ROUND = 1000  # examples of a mixture in which every task has its share


def training_batches(
  task: str,
  split: str,
  lengths: Mapping[str, int],
  batch_size: int,
  seed: int,
  group_by: str = '',
  done: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
  """Returns an endless, shuffled stream of batches of model features, each [B, ...].

  Args:
    task: name of a registered SeqIO task or mixture, with sources that have the method
      `from_index` of `tasks.histories.HistorySource`.
    split: name of the split.
    lengths: maximum length of each task feature.
    batch_size: B.
    seed: seed of the order and of random examples, from 0; the same seed gives the same
      stream.
    group_by: key of `GROUPS`; its features are padded to a quarter, half, three
      quarters or all of their limit, and a batch has examples of the same padded
      length. '' pads all features to their limits.
    done: number of batches to leave out at the start.

  Raises:
    ValueError: the features of `group_by` are empty in this task, an example is longer
      than `lengths` allow, or a source cannot be entered by index.
  """
  converter = HistoryFeatureConverter(pad=False)
  limits = converter.get_model_feature_lengths(lengths)

  @tf.autograph.experimental.do_not_convert
  def examples(start):
    return converter(_examples(task, split, lengths, seed, start), dict(lengths))

  if group_by:
    dataset = _grouped(examples, limits, batch_size, group_by, done)
  else:
    dataset = _padded(examples(done * batch_size), limits, batch_size)
  return _explained(dataset.prefetch(2), task, lengths)


def _explained(dataset, task, lengths):
  """Yields batches; an error of the task's own code keeps only its words."""
  try:
    yield from dataset.as_numpy_iterator()
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


def _examples(name, split, lengths, seed, start):
  """Returns the examples of a task or mixture from number `start` on."""
  found = seqio.get_mixture_or_task(name)
  if isinstance(found, seqio.Task):
    return _of_task(found, split, lengths, (seed, 0), start)
  tasks = [task for task in found.tasks if split in task.splits]
  turns = _turns([found.get_rate(task) for task in tasks])
  before = np.cumsum(np.eye(len(tasks), dtype=np.int64)[turns], axis=0)
  of_round = before[-1]
  before = tf.constant(np.concatenate([np.zeros_like(before[:1]), before]))
  starts = start // len(turns) * of_round + before[start % len(turns)]
  names = [*found.output_features, *OPTIONAL_FEATURES]
  kept = lambda example: {key: example[key] for key in names if key in example}
  examples = [
    _of_task(task, split, lengths, (seed, number), starts[number]).map(kept)
    for number, task in enumerate(tasks)
  ]
  places = tf.data.Dataset.range(start, tf.int64.max)
  choices = places.map(lambda place: tf.constant(turns)[place % len(turns)])
  return tf.data.Dataset.choose_from_datasets(examples, choices)


def _turns(rates):
  """Returns the number of the task of each example in a round, evenly spread."""
  counts = np.rint(_ROUND * np.array(rates) / sum(rates))
  counts = np.where(np.array(rates) > 0, counts.clip(1), 0).astype(int)
  tasks = np.repeat(np.arange(len(counts)), counts)
  place = np.concatenate(
    [(np.arange(count) + 0.5) / count for count in counts if count]
  )
  return tasks[np.argsort(place, kind='stable')]


def _of_task(task, split, lengths, seeds, start):
  """Returns the examples of a task that SeqIO makes of its histories."""
  if not hasattr(task.source, 'from_index'):
    raise ValueError(
      f'task {task.name!r} reads {task.source}, which cannot be entered by index: '
      'expected source=tasks.histories.HistorySource()'
    )
  seed = int(np.random.SeedSequence(seeds).generate_state(1)[0] >> 1)  # fits int32
  histories = task.source.from_index(split, seed, start)
  entered = seqio.FunctionDataSource(
    lambda split, shuffle_files, seed=None: histories, splits=[split]
  )
  task = task.replace(source=entered)
  return task.get_dataset(
    dict(lengths), split, shuffle=False, seed=seed, trim_output_features=False
  )


def _padded(dataset, limits, batch_size, grouped=()):
  """Pads and batches examples; `grouped` features to the longest of a batch."""
  rank = {name: len(spec.shape) for name, spec in dataset.element_spec.items()}
  sizes = limits | dict.fromkeys(grouped, -1)
  # -1: all vectors of a batch have the same width, which needs no padding.
  shapes = {name: [size] + [-1] * (rank[name] - 1) for name, size in sizes.items()}
  return dataset.padded_batch(batch_size, shapes, drop_remainder=True)


def _grouped(examples, limits, batch_size, group_by, done):
  """Batches examples of the same padded length, in windows of `_WINDOW` batches.

  A stream that starts within a window makes the examples before its start and drops
  them.
  """
  grouped = [name for name in GROUPS[group_by] if limits.get(name)]
  if not grouped:
    raise ValueError(
      f'group_by={group_by!r}: the task leaves {GROUPS[group_by][0]} empty'
    )
  limit = limits[grouped[0]]

  def parts_of(example):
    size = tf.shape(example[grouped[0]])[0]
    return tf.cast(tf.maximum(-(-size * _PARTS // limit), 1), tf.int64)

  @tf.autograph.experimental.do_not_convert
  def window(number):
    size = _WINDOW * batch_size
    # Full groups come first; at the end the rest of each, the longest ones last.
    return (
      examples(number * size)
      .take(size)
      .group_by_window(parts_of, lambda _, rows: rows, batch_size)
    )

  def lengthen_last(place, example):
    """Pads the last example of a batch, so that the others are padded with it."""
    size = -(-parts_of(example) * limit // _PARTS)
    more = lambda x: (
      [[0, size - tf.shape(x, tf.int64)[0]]] + [[0, 0]] * (x.shape.rank - 1)
    )
    longer = lambda: {
      name: tf.pad(example[name], more(example[name])) for name in grouped
    }
    same = lambda: {name: example[name] for name in grouped}
    return example | tf.cond((place + 1) % batch_size == 0, longer, same)

  first, dropped = divmod(done, _WINDOW)
  rows = tf.data.Dataset.range(first, tf.int64.max).flat_map(window)
  rows = rows.skip(dropped * batch_size).enumerate().map(lengthen_last)
  return _padded(rows, limits, batch_size, grouped)
