"""Tells the new name of a command that has moved."""

import sys

if __name__ == '__main__':
  print('this command is now python -m pipelines.inspect', file=sys.stderr)
  sys.exit(2)
