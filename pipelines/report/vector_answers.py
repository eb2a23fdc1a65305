"""Answers of methods that read the item vectors, but need no language model."""

from collections.abc import Mapping
from typing import Any

from pipelines.report import run_results
from pipelines.report.run_results import Labelled
from tasks import baselines
from tasks.baselines import ChosenAnswers, UserSamples
from tasks.item_vectors import ItemVectors
from tasks.labels import LabelRule


def answer_from_vectors(
  embeddings_dir: str,
  histories_dir: str,
  info: Mapping[str, Any],
  train: Labelled,
  test: Labelled,
) -> dict[str, ChosenAnswers]:
  """Returns the answers of every method to the users of `test`.

  Args:
    embeddings_dir: finished folder of the item vectors of these histories.
    histories_dir: finished folder of the histories.
    info: `dataset_info.json`, with genres and label rule.
    train: users whose labels the methods are fitted to; those of the split validation
      choose their settings.
    test: users to answer.
  """
  genres, rule = info['genres'], LabelRule(**info['label_rule'])
  categories = run_results.read_genres(histories_dir, genres)
  vectors = ItemVectors(embeddings_dir).by_item(len(categories))
  validation = run_results.read_split(histories_dir, 'validation', genres)
  own, chosen_by, users = map(_samples_of, (train, validation, test))
  fitted = (vectors, own, chosen_by, users, rule.top)
  return {
    'linear_probe': baselines.linear_probe(vectors, categories, chosen_by, users, rule),
    'logistic_regression': baselines.logistic_regression(*fitted),
    'nearest_users': baselines.nearest_users(*fitted),
  }


def _samples_of(users):
  return UserSamples(users.items, [stars for _, stars in users.samples], users.truth)
