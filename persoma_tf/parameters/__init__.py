"""Parameters as arrays: stored, frozen or trained, low-rank, in fewer bits."""
