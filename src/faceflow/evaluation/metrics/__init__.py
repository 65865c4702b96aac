"""What rankings and pair scores are worth, and how sure that is."""
