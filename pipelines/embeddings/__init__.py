"""Makes vectors from the texts of interactions."""
