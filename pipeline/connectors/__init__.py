"""One file per outside system or file format; each yields tables of readings."""
