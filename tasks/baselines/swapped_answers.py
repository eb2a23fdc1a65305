"""A control: answers that are scored against the labels of other users."""

import numpy as np

from tasks import metrics


def swapped_users(
  truth: np.ndarray, predicted: np.ndarray, *, rolls: int = 20, seed: int = 0
) -> dict[str, float]:
  """Scores answers against the labels of other users.

  A model's answer depends on the history alone, so this needs no new answers. A model
  that has learned nothing of the single user scores here as it does on the right
  labels. The users stand in a circle, in random order; roll r gives everybody the
  answer to the user r places before, so nobody keeps their own.

  Args:
    truth: [U, C] bool labels.
    predicted: [U, C] bool answers.
    rolls: number of rolls; fewer users than that have fewer.
    seed: seed of the order.

  Returns:
    The means of {'precision', 'recall', 'f1'} over the rolls, and the number of
    'rolls'; {} if there are fewer than two users.
  """
  order = np.random.default_rng(seed).permutation(len(truth))
  places = range(1, min(rolls, len(truth) - 1) + 1)
  found = [
    metrics.weighted_scores(truth[order], predicted[np.roll(order, place)])
    for place in places
  ]
  if not found:
    return {}
  means = {name: float(np.mean([x[name] for x in found])) for name in found[0]}
  return {**means, 'rolls': len(found)}
