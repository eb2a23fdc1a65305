"""Kinds of answers: each module knows the form of one kind."""
