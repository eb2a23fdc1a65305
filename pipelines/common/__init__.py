"""Holds the code that several jobs share: flags, folders, files, progress, threads."""
