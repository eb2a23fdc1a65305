"""Gin recipes; packages, so that gin finds them from every working directory."""
