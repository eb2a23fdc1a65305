"""Tokenizers that are stored in the weight files of decoders."""
