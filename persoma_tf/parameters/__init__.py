"""Stores, freezes, quantizes and adapts (LoRA) the parameters of a model."""
