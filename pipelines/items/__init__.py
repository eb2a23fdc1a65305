"""Reads the items and the facts about them that samplers use."""
