"""Trains the adapter: stages, batches, the training loop, and the exported files."""
