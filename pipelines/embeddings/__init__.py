"""Encodes the texts of interactions as vectors."""
