"""Beam jobs, one a file: `python -m pipelines.<job> --help`."""

__version__ = '0.1.0'
