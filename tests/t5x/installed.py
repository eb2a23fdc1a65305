"""Whether T5X is there."""

import importlib.util
import os

import pytest


def require(package: str = 't5x') -> None:
  """Skips who calls it without a package; with REQUIRE_T5X=1 it fails."""
  if importlib.util.find_spec(package):
    return
  message = f'{package} is not installed: make setup-t5x'
  if os.environ.get('REQUIRE_T5X') == '1':
    pytest.fail(message, pytrace=False)
  pytest.skip(message, allow_module_level=True)
