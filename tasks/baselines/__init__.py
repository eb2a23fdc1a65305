"""Methods that answer without a language model, to compare a model with.

All functions work on class indicators [U, 2G] bool (`tasks.metrics.indicator`): liked
genres first, then disliked genres. Settings of a method are chosen on validation users;
the users that it answers are read once.
"""

from tasks.baselines.answer_choice import ChosenAnswers, best_settings, top_classes
from tasks.baselines.class_regression import (
  fit_classes,
  logistic_regression,
  turn_columns,
)
from tasks.baselines.item_probe import answer_by_rule, estimate_categories, linear_probe
from tasks.baselines.simple_answers import TOP, constant, counting, rule_on_sample
from tasks.baselines.swapped_answers import swapped_users
from tasks.baselines.user_neighbours import find_neighbours, nearest_users
from tasks.baselines.user_samples import UserSamples, pool_users, standardize_columns

__all__ = [
  'TOP',
  'ChosenAnswers',
  'UserSamples',
  'answer_by_rule',
  'best_settings',
  'constant',
  'counting',
  'estimate_categories',
  'find_neighbours',
  'fit_classes',
  'linear_probe',
  'logistic_regression',
  'nearest_users',
  'pool_users',
  'rule_on_sample',
  'standardize_columns',
  'swapped_users',
  'top_classes',
  'turn_columns',
]
