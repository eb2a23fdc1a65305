"""Runs the jobs of PERSOMA, one per module: `python -m pipelines.<job> --help`."""

__version__ = '0.1.0'
