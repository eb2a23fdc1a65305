"""F1 of adapters, tunings and baselines on the same users, at the same training cost.

    python -m benchmarks.quality [--data=/path/to/ml-latest-small] \
      [--methods=perceiver,mlp,...] [--seeds=0,1,2] [--work_dir=runs/quality]

Trains every method with every seed once, on sub-histories of at most 200 items of the
training users, and answers the test users as they are with their N newest
interactions, N = 50 and 200. Methods that only have the language-model loss get as many
steps as fit into the processor time that the perceiver's training took (on a machine
with nothing beside, wall time in proportion; unlike it, the same when there is
something beside). A finished cell is kept in `--work_dir`, so that a run goes on where
it was cut. Writes `benchmarks/results/quality_<data>.json`.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from persoma_tf import assets
from pipelines import job

ITEMS = (50, 200)
_QUICKSTART = ['runs/quickstart.gin']
_LM_ONLY = ['runs/lm_only.gin']
_TEXT = ['history_limits.items = 50', 'history_limits.text_tokens = 2048']
# method -> (recipes, bindings, whether its steps are what fits into the budget)
METHODS = {
  'perceiver': (_QUICKSTART, [], False),
  'mlp': ([*_QUICKSTART, 'adapters/mlp.gin'], [], False),
  'transformer': ([*_QUICKSTART, 'adapters/transformer.gin'], [], False),
  'perceiver_lora': (_QUICKSTART, ["train.tuning = 'lora'"], False),
  'uem': (['runs/uem.gin'], [], True),
  'text_prompt': (['runs/text_prompt.gin'], _TEXT, True),
  # What each part of the recipe is worth: the perceiver with less of it.
  'lm_only': (_LM_ONLY, [], True),
  'lm_only_template': ([*_LM_ONLY, 'adapters/perceiver.gin'], [_ANSWER], True),
  'no_subhistories': (_QUICKSTART, ["train.task = 'movielens_genre_prediction_v1'"], False),
  'no_statistics': (_QUICKSTART, ['histories/Stage.statistics_weight = 0.0'], False),
  'item_warmup': (['runs/item_warmup.gin'], [], True),
}
_CALIBRATION = (2, 8)  # steps of two runs, whose difference tells what a step costs
_TEXT_USERS = 48  # the history as text takes seconds a user
