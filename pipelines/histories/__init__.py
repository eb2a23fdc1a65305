"""Makes the histories and labels of users from their ratings."""
