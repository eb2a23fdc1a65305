"""The registry of encoders."""

import pytest

from persoma_tf import encoders


def test_unknown_name():
  with pytest.raises(ValueError, match="did you mean 'all-MiniLM-L6-v2'"):
    encoders.load_encoder('minilm')
