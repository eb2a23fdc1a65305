"""Studies: grids of whole runs, from ratings to scores, each cell one JSON."""
