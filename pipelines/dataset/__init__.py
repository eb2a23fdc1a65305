"""Reads dataset files: what the files of a data set are, and what is asked."""
