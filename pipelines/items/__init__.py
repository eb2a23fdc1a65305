"""Reads the items, and what samplers know of them."""
