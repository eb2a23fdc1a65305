"""Fits the adapter: stages, batches, the loop, and what a run leaves."""
