"""Refreshing rollups: what changed, which cells that concerns, and what they hold now."""
