"""Beam finds out once what it would find out for each transform of each pipeline.

Of a job on few rows, most of the time goes into the signatures of the methods of
transforms and into the parsers of options, which are the same in every job.
"""

import copy
import types
import weakref

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core

_arguments, _parsed = weakref.WeakKeyDictionary(), {}
_find_arguments, _parse = core.get_function_args_defaults, PipelineOptions.__init__


def install() -> None:
  """Replaces two functions of Beam in this process."""
  core.get_function_args_defaults = _arguments_of
  PipelineOptions.__init__ = _begin_options


def _arguments_of(function) -> tuple[list, list]:
  """Names and defaults of arguments: those of a method are those of its function."""
  if not isinstance(function, types.MethodType):
    return _find_arguments(function)
  if function.__func__ not in _arguments:
    _arguments[function.__func__] = _find_arguments(function)
  return tuple(map(list, _arguments[function.__func__]))


def _begin_options(self, flags=None, **kwargs) -> None:
  """Parses flags for a class of options; `vars` gives what Beam's own function sets."""
  if flags is None or kwargs:
    return _parse(self, flags, **kwargs)
  key = type(self), *flags
  if key not in _parsed:
    made = PipelineOptions.__new__(type(self))
    _parse(made, flags)
    _parsed[key] = made._visible_options
  self._flags, self._visible_options = flags, copy.deepcopy(_parsed[key])
  self._all_options = {**vars(self._visible_options)}
