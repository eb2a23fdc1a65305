"""Splits parameters into trained and frozen ones, by a list of path patterns.

A parameter's path is its keys joined by '/', such as 'adapter/latents' or
'decoder/layers/attention/query/kernel'. Only parameters with a matching path have
gradients and optimizer slots. All other parameters are constants of the training step:
the compiler never builds their gradients, and nothing can change them.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

Params = Mapping[str, Any]

# Tuning mode -> patterns of the decoder parameters that train with the adapter.
TUNING = {'frozen': (), 'lora': ('decoder/.*/lora_[ab]',), 'full': ('decoder/.*',)}


def tuned(tuning: str) -> tuple[str, ...]:
  """Returns the path patterns of a tuning mode.

  Raises:
    ValueError: the tuning mode is unknown.
  """
  if tuning not in TUNING:
    raise ValueError(f'tuning={tuning!r}: expected one of {sorted(TUNING)}')
  return TUNING[tuning]


def split_params(params: Params, trainable: Iterable[str]) -> tuple[dict, dict]:
  """Splits a parameter tree by path patterns.

  Args:
    params: nested parameter tree.
    trainable: regular expressions, each matched against whole paths.

  Returns:
    (trainable, frozen): flat dicts from path to array, which `join_params` joins.

  Raises:
    ValueError: a pattern matches no parameter.
  """
  flat = traverse_util.flatten_dict(params, sep='/')
  chosen = set()
  for pattern in trainable:
    hits = {path for path in flat if re.fullmatch(pattern, path)}
    if not hits:
      raise ValueError(
        f'trainable pattern {pattern!r} matches no parameter; a pattern must match a '
        f'whole path, such as {sorted(flat)[:3]}'
      )
    chosen |= hits
  return (
    {path: x for path, x in flat.items() if path in chosen},
    {path: x for path, x in flat.items() if path not in chosen},
  )


def join_params(trainable: Mapping, frozen: Mapping) -> dict:
  """Joins the two flat dicts of `split_params` into a nested parameter tree."""
  return traverse_util.unflatten_dict({**frozen, **trainable}, sep='/')


def overlay(params: Params, others: Params) -> dict:
  """Returns a tree with the parameters of `others`, and those of `params` beside them.

  Args:
    params: nested parameter tree.
    others: nested parameter tree, or a flat dict from path to array.
  """
  flatten = lambda tree: traverse_util.flatten_dict(tree, sep='/')
  return join_params(flatten(others), flatten(params))


def describe_trainable(trainable: Mapping, frozen: Mapping) -> str:
  """Returns the log line 'trainable 1,234 of 56,789 parameters (2.17 %)'."""
  count = sum(int(np.prod(x.shape)) for x in trainable.values())
  total = count + sum(int(np.prod(x.shape)) for x in frozen.values())
  return f'trainable {count:,} of {total:,} parameters ({100 * count / total:.2f} %)'
