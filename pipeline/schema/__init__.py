"""What a fleet measures: channels, their types and the validation of incoming tables."""
