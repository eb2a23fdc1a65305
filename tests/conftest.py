"""Fixtures that several rooms use. Data that is not there skips a test."""

import os
import pathlib

import pytest

from persoma_tf import assets as pinned
from tests import movielens

_SHARED = pathlib.Path(__file__).parents[2] / 'shared' / 'data'


@pytest.fixture
def ml_latest_small() -> pathlib.Path:
  """The real ml-latest-small folder, where the machine has it."""
  folder = pathlib.Path(os.environ.get('PERSOMA_TEST_DATA', _SHARED))
  if not (folder / 'ml-latest-small').is_dir():
    pytest.skip('ml-latest-small is not here; PERSOMA_TEST_DATA names its parent')
  return folder / 'ml-latest-small'


@pytest.fixture(scope='session')
def assets():
  """name -> folder of a pinned asset; skips where it cannot be had."""

  def folder(name: str) -> pathlib.Path:
    try:
      return pinned.path(name)
    except pinned.AssetError as error:
      pytest.skip(str(error))

  return folder


@pytest.fixture(scope='session')
def tiny(tmp_path_factory) -> pathlib.Path:
  """A generated MovieLens CSV folder: 40 users, 60 movies. Read only."""
  return movielens.write(tmp_path_factory.mktemp('movielens'))
