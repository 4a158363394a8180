"""The xarray face: backend entry point and lazy columns."""
