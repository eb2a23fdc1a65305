"""Turns drafts into first tokens of answers, which a decoder reads at once.

Reading one token after the other is slow where the weights are read from memory for
each of them: for few rows, or on an accelerator. Large batches on CPUs wait for
products instead, and gain nothing (docs/speed.md).
"""

from collections.abc import Sequence

import jax
import numpy as np

from persoma_tf.decoders.decoder_only import DecoderOnly
from persoma_tf.inference.answer_rows import Task
from persoma_tf.inference.decoding_settings import Decoding
from persoma_tf.model import Persoma

_LEAST = 2  # tokens that are worth it
_ROWS_OF_A_CPU = 32


class DraftAhead:
  """Tells the first tokens of drafted answers, behind those that all answers have."""

  def __init__(self, model: Persoma, task: Task, decoding: Decoding):
    """Chooses how many tokens are read ahead.

    Args:
      model: model that reads them.
      task: properties of the answers.
      decoding: settings of the decoding; nothing is read ahead unless it is greedy.
    """
    self._task = task
    self._begun = len(task.grammar.forced()[0]) if task.grammar else 0
    # Most answers are shorter than half of the longest one.
    size = (task.max_tokens - self._begun) // 2
    greedy = decoding.beams == 1 and not decoding.temperature
    able = greedy and task.drafted and isinstance(model.decoder, DecoderOnly)
    self._size = size if able and size >= _LEAST else 0

  def tokens(self, drafts: Sequence[Sequence[int]] | None) -> np.ndarray | None:
    """Returns the tokens [B, M] int32 of drafts; None if none are read ahead.

    Args:
      drafts: [B, S] words in the slots of each soft prompt; None without slots.
    """
    if drafts is None or not self._size:
      return None
    if jax.default_backend() == 'cpu' and len(drafts) > _ROWS_OF_A_CPU:
      return None
    found = np.full((len(drafts), self._size), self._task.eos_id, np.int32)
    for row, words in zip(found, drafts, strict=True):
      own = self._task.drafted(tuple(words))[self._begun :][: self._size]
      row[: len(own)] = own
    return found
