"""Job files and the Dask graphs that they run."""
