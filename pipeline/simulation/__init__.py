"""Simulated fleets and disorder, for tests, demos and benchmarks."""
