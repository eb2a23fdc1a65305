"""Whether T5X is there."""

import importlib.util
import os

import pytest


def require() -> None:
  """Skips the module that calls it without t5x; with REQUIRE_T5X=1 it fails."""
  if importlib.util.find_spec('t5x'):
    return
  message = 't5x is not installed: make setup-t5x'
  if os.environ.get('REQUIRE_T5X') == '1':
    pytest.fail(message, pytrace=False)
  pytest.skip(message, allow_module_level=True)
