"""What `pipeline.Fleet.read` returns, and how engines push columns and filters into it."""
