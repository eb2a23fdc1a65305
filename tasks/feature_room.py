"""Tells how long the features of an example may be."""

from collections.abc import Mapping
from typing import NamedTuple


class Room(NamedTuple):
  """Holds the lengths that the features of a task may have.

  SeqIO cuts off what is longer, without a word, so every example is checked before.

  Attributes:
    task: name of the task.
    lengths: maximum length of each feature; features without one may have any length.
  """

  task: str = ''
  lengths: Mapping[str, int] = {}

  def check(self, **sizes: int) -> None:
    """Checks the lengths of an example's features.

    Raises:
      ValueError: a feature is longer than it may be.
    """
    for name, size in sizes.items():
      if size > self.lengths.get(name, size):
        raise ValueError(
          f'task {self.task}: {name} has a length of {size}, but the feature lengths '
          f'allow {self.lengths[name]}, and nothing may be cut off: give {name} at '
          f'least {size} in train.feature_lengths, or TASK_FEATURE_LENGTHS in T5X '
          '(feature_lengths.min_targets sets the least length of targets)'
        )
