"""Runs studies: grids of whole runs, from ratings to scores, with a JSON per cell."""
