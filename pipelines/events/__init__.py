"""Reads the interactions of users, and says why a row cannot be used."""
