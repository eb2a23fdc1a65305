"""What a folder holds, and what a recipe would cost, before anyone pays for a run."""
