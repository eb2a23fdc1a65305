"""Beam jobs, one a file: `python -m pipelines.<job> --help`."""
