"""Rollups in the archive: what they are, how they lie in chunks, and what they tell."""
