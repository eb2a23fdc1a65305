"""Soft prompts in front of other servers of the decoder."""
