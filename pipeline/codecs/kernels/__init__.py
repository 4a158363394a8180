"""Plain loops over arrays, compiled by numba on first use; nothing else imports numba."""
