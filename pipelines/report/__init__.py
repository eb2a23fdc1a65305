"""Pages of a run and of a study: their numbers, their plots, their HTML."""
