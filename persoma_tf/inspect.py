"""Tells the new name of a command that has moved."""

import sys

if __name__ == '__main__':
  print(
    'persoma_tf.inspect is now called pipelines.inspect: python -m pipelines.inspect --help',
    file=sys.stderr,
  )
  sys.exit(2)
