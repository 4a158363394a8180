"""Real servers for tests: how they are installed, started on loopback, and stopped."""
