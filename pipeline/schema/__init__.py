"""What a fleet measures: channels, their versions and conversions, and the validation of incoming tables."""
