"""Reads examples: questions that are asked about single users, items and times."""
