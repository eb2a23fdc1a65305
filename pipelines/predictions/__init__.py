"""Answers users, writes the prediction table and loads it into BigQuery."""
