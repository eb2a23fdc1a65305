"""Methods that answer without a language model, to compare a model with.

Those for lists work on class indicators [U, 2G] bool (`tasks.metrics.indicator`): liked
genres first, then disliked genres. Those for a choice about an example give
probabilities [E, O] of the options. Settings of a method are chosen on training or
validation users; those that it answers are read once.
"""

from tasks.baselines.answer_choice import ChosenAnswers, best_settings, top_classes
from tasks.baselines.asked_regression import (
  asked_regression,
  pair_columns,
  shorten_vectors,
)
from tasks.baselines.choice_samples import (
  ChoiceSamples,
  ChosenProbabilities,
  mean_log_loss,
)
from tasks.baselines.class_regression import (
  fit_classes,
  logistic_regression,
  turn_columns,
)
from tasks.baselines.item_probe import answer_by_rule, estimate_categories, linear_probe
from tasks.baselines.item_shares import (
  FOLDS,
  OptionCounts,
  count_options,
  item_mean,
  majority,
  smoothed_shares,
)
from tasks.baselines.number_deviation import (
  ToldNumbers,
  item_mean_user_bias_number,
)
from tasks.baselines.simple_answers import TOP, constant, counting, rule_on_sample
from tasks.baselines.swapped_answers import swapped_users
from tasks.baselines.user_deviation import (
  SummedValues,
  item_mean_user_bias,
  sum_item_values,
  user_deviations,
)
from tasks.baselines.user_neighbours import find_neighbours, nearest_users
from tasks.baselines.user_samples import UserSamples, pool_users, standardize_columns

__all__ = [
  'FOLDS',
  'TOP',
  'ChoiceSamples',
  'ChosenAnswers',
  'ChosenProbabilities',
  'OptionCounts',
  'SummedValues',
  'ToldNumbers',
  'UserSamples',
  'answer_by_rule',
  'asked_regression',
  'best_settings',
  'constant',
  'count_options',
  'counting',
  'estimate_categories',
  'find_neighbours',
  'fit_classes',
  'item_mean',
  'item_mean_user_bias',
  'item_mean_user_bias_number',
  'linear_probe',
  'logistic_regression',
  'majority',
  'mean_log_loss',
  'nearest_users',
  'pair_columns',
  'pool_users',
  'rule_on_sample',
  'shorten_vectors',
  'smoothed_shares',
  'standardize_columns',
  'sum_item_values',
  'swapped_users',
  'top_classes',
  'turn_columns',
  'user_deviations',
]
