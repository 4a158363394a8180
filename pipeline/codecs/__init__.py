"""Compression: the filters, the adaptive block codec and their kernels."""
