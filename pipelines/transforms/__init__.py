"""Transforms of the jobs and the pure functions in them, one idea a file."""
