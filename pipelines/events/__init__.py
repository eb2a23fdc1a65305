"""Reads the interactions that people have, and says why a row cannot be used."""
