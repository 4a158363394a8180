"""A TCP proxy on loopback whose connections can be cut, or swallow everything."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["Proxy", "proxy"]

_PIECE: Final = 65536


class Proxy:
    """Passes bytes to a port on loopback and back.

    Parameters
    ----------
    target
        The port of the server.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self.port = int(self._listener.getsockname()[1])
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection, on both sides."""
        with self._lock:
            ended = list(self._open)
            self._open.clear()
        for one in ended:
            # Both a reset and the wake-up of the threads that wait on it.
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def swallow(self) -> None:
        """Keep connections, and let nothing through in either direction."""
        self._flowing.clear()

    def heal(self) -> None:
        """Let everything through again; what was swallowed is lost with its connections."""
        self.cut()
        self._flowing.set()

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.heal()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(_PIECE):
                self._flowing.wait()
                other.sendall(data)
        with self._lock:
            self._open -= {one, other}
        for ended in (one, other):
            with suppress(OSError):
                ended.shutdown(socket.SHUT_RDWR)
            ended.close()


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """Yield a proxy to a port on loopback."""
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()
