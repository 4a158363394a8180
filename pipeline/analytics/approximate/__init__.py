"""Approximate answers: values with bounds, from what is stored, without looking at every row."""
