"""Answers: the planner and window aggregates."""
