"""Writes answers with a trained model."""
