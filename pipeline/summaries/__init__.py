"""Mergeable statistics, stated as chunk, combine and finalise."""
