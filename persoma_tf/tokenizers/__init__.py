"""Tokenizers that come inside the files of decoders."""
