"""Settings of a process that trains or runs a job; called before heavy imports."""

import logging
import os

from persoma_tf import assets

_LIBRARIES = {
  'absl': logging.ERROR,  # Orbax writes through absl, 30 lines a checkpoint
  'jax': logging.ERROR,
  'apache_beam': logging.WARNING,
}


def prepare() -> None:
  """Sets up the log, and what JAX and TensorFlow read of the environment.

  The terminal shows this project's lines, and of other libraries what is wrong. JAX
  keeps compiled code in the cache folder, so that the next process need not compile it
  again. What the caller's environment says is kept.
  """
  logging.basicConfig(
    level=logging.INFO, format='%(asctime)s %(name)s: %(message)s', force=True
  )
  for name, level in _LIBRARIES.items():
    logging.getLogger(name).setLevel(level)
  # TensorFlow's and XLA's C++ side logs missing GPUs and other processors as errors;
  # what stops the process is still written.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
  os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', f'{assets.cache_dir()}/compiled')
  os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
