"""Assigns users to splits and shards by a hash of the user id.

Only the id, the seed, the fractions and the number of shards decide where a user goes.
The other users, the order of rows and the number of workers do not matter.
"""

import dataclasses

import numpy as np
import pyarrow as pa

from pipelines.histories.hashing import hash_ids, mix
from tasks.schema import SPLITS

_MOST_SHARDS = 1_000_000  # of all splits: each is a file


@dataclasses.dataclass(frozen=True)
class Split:
  """Describes how users are divided into splits and shards.

  Attributes:
    train: share of users in the training split, 0 to 1.
    validation: share of users in the validation split; the other users are the test
      split.
    num_shards: number of shards of the training split; the other splits have shards of
      similar size.
    seed: seed of the hash.

  Raises:
    ValueError: the shares add up to more than 1, `num_shards` is below 1, or all splits
      would have too many shards.
  """

  train: float
  validation: float
  num_shards: int
  seed: int

  def __post_init__(self):
    if not (0 < self.train <= 1 and 0 <= self.validation <= 1 + 1e-9 - self.train):
      raise ValueError(
        f'train_fraction={self.train} and validation_fraction={self.validation}: '
        'expected 0 < train <= 1, 0 <= validation and a sum of at most 1'
      )
    if self.num_shards < 1:
      raise ValueError(f'num_shards={self.num_shards}: expected at least 1')
    if self.num_shards / self.train > _MOST_SHARDS:
      raise ValueError(
        f'train_fraction={self.train} and num_shards={self.num_shards}: all splits '
        f'together, with shards of similar size, have more than {_MOST_SHARDS:,} '
        'shards; expected a larger train_fraction or a smaller num_shards'
      )

  @property
  def fractions(self) -> dict[str, float]:
    """Returns the share of users in each split."""
    test = round(max(0.0, 1 - self.train - self.validation), 9)
    return {'train': self.train, 'validation': self.validation, 'test': test}

  @property
  def shards(self) -> dict[str, int]:
    """Returns the number of shards of each split."""
    return {
      split: max(1, round(self.num_shards * share / self.train))
      for split, share in self.fractions.items()
    }

  def shard_names(self) -> tuple[str, ...]:
    """Returns the names of all shards, such as 'train-00000-of-00002'."""
    return tuple(
      f'{split}-{shard:05d}-of-{count:05d}'
      for split, count in self.shards.items()
      for shard in range(count)
    )

  def assign(self, user_ids: pa.Array) -> np.ndarray:
    """Assigns each user to a shard.

    Args:
      user_ids: [n] strings.

    Returns:
      [n] int64 positions in `shard_names`.
    """
    hashes = hash_ids(user_ids, self.seed)
    unit = (hashes >> np.uint64(11)) * 2.0**-53
    split = np.searchsorted([self.train, self.train + self.validation], unit, 'right')
    if not self.fractions['test']:
      split = np.minimum(split, SPLITS.index('validation') if self.validation else 0)
    counts = np.array(list(self.shards.values()))
    first = np.cumsum(counts) - counts
    # Mixed again: the shard must be independent of the hash that chose the split.
    within = mix(hashes) % counts[split].astype(np.uint64)
    return first[split] + within.astype(np.int64)
