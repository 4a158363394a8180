"""Free ports on loopback."""

from __future__ import annotations

import socket
import time

__all__ = ["free_port", "wait_for_port"]


def free_port() -> int:
    """Return a port on which nothing listens at this moment."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    """Wait until a server on loopback takes connections.

    Raises
    ------
    TimeoutError
        If it does not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    msg = f"nothing listens on port {port} after {seconds:g} seconds"
    raise TimeoutError(msg)
