"""Tells the new name of a command that has moved."""

import sys

if __name__ == '__main__':
  print(
    'persoma_tf.experiments is now called pipelines.study: python -m pipelines.study --help',
    file=sys.stderr,
  )
  sys.exit(2)
