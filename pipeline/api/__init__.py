"""The public face: `Archive` and `Fleet`."""
