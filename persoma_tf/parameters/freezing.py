"""Which parameters train: one list of path patterns decides.

A parameter's path is its keys joined by '/', such as 'adapter/latents' or
'decoder/layers/attention/query/kernel'. Training takes gradients of, and
optimizer slots for, the matching parameters only; all others are handed to the
step as constants, so that the compiler never builds their gradients and nothing
can move them.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

Params = Mapping[str, Any]

# Tuning mode -> what of the decoder trains with the adapter.
TUNING = {'frozen': (), 'lora': ('decoder/.*/lora_[ab]',), 'full': ('decoder/.*',)}


def tuned(tuning: str) -> tuple[str, ...]:
  """The patterns of a tuning mode.

  Raises:
    ValueError: no such mode.
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
    (trainable, frozen): flat dicts from path to array. `merge` joins them again.

  Raises:
    ValueError: a pattern matches no parameter.
  """
  flat = traverse_util.flatten_dict(params, sep='/')
  chosen = set()
  for pattern in trainable:
    hits = {path for path in flat if re.fullmatch(pattern, path)}
    if not hits:
      raise ValueError(
        f'trainable pattern {pattern!r} matches no parameter; paths look like '
        f'{sorted(flat)[:3]} and patterns must match them whole'
      )
    chosen |= hits
  return (
    {path: x for path, x in flat.items() if path in chosen},
    {path: x for path, x in flat.items() if path not in chosen},
  )


def join_params(trainable: Mapping, frozen: Mapping) -> dict:
  """The nested parameter tree of two flat dicts that `split` gave."""
  return traverse_util.unflatten_dict({**frozen, **trainable}, sep='/')


def overlay(params: Params, trained: Mapping) -> dict:
  """`params` with the flat dict `trained` put over it, as a nested tree."""
  return join_params(trained, traverse_util.flatten_dict(params, sep='/'))


def describe_trainable(trainable: Mapping, frozen: Mapping) -> str:
  """The line people look for: 'trainable 1,234 of 56,789 parameters (2.17 %)'."""
  count = sum(int(np.prod(x.shape)) for x in trainable.values())
  total = count + sum(int(np.prod(x.shape)) for x in frozen.values())
  return f'trainable {count:,} of {total:,} parameters ({100 * count / total:.2f} %)'
