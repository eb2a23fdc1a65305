"""Equal functions of the product share what JAX has traced and compiled of them.

Every run makes the functions of its recipe anew, and JAX knows a function by its
identity: runs of one recipe in one process would trace and compile the same programs
again and again, the longest part of most tests that train or answer. Functions of tests
are never shared, and nothing is in tests with the fixture `monkeypatch`, which may
change what is traced.
"""

import dataclasses
import functools
import hashlib
import types
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import numpy as np

_jit, _first = jax.jit, {}
_shares, _MOST = True, 32


def install() -> None:
  """Replaces `jax.jit` in this process."""
  jax.jit = _shared_jit


def share(is_wanted: bool) -> None:
  """Says whether functions that are compiled from now on share their programs."""
  global _shares
  _shares = is_wanted


def _shared_jit(function: Callable, **settings) -> Callable:
  """Compiles the first function that was equal, if it is one of the product's."""
  made = getattr(function, 'func', function)  # of a partial
  owner = type(made.__self__) if isinstance(made, types.MethodType) else made
  if _shares and owner.__module__.startswith('persoma_tf.'):
    key = content(function)
    function = _first[key] = _first.pop(key, function)  # the newest is last
    for old in [*_first][:-_MOST]:  # their programs take memory
      del _first[old]
  return _jit(function, **settings)


def content(value: Any) -> Hashable:
  """What decides what a function does: its code, and all that it encloses.

  Other objects count by their own equality, which is identity if they define none.
  """
  match value:
    case types.FunctionType():
      cells = [cell.cell_contents for cell in value.__closure__ or ()]
      return value.__code__, content([cells, value.__defaults__, value.__kwdefaults__])
    case types.MethodType():
      return content([value.__func__, value.__self__])
    case functools.partial():
      return content([value.func, value.args, value.keywords])
    case np.ndarray() | jax.Array():
      numbers = np.asarray(value)
      digest = hashlib.sha256(numbers.tobytes()).digest()
      return str(numbers.dtype), numbers.shape, digest
    case list() | tuple():
      return type(value), *map(content, value)
    case Mapping():
      return content([type(value), *value.items()])
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    fields = [x.name for x in dataclasses.fields(value) if x.name != 'parent']
    return content([type(value), *(getattr(value, name) for name in fields)])
  return type(value), value
