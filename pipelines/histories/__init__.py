"""Makes a user's history and label from ratings."""
