"""The vocabulary: record batches, timestamps and ports; no input or output happens here."""
