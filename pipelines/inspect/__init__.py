"""Describes the content of folders, and estimates the cost of a recipe before a run."""
