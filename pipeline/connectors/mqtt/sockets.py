"""Opening sockets to brokers, encrypted or not."""

from __future__ import annotations

import socket
import ssl
import sys
from typing import Final

from pipeline.connectors.mqtt.options import MqttOptions, variable
from pipeline.connectors.mqtt.reasons import RefusedError
from pipeline.errors import InvalidInputError

__all__ = ["open_socket", "tls_context"]

_UNACKNOWLEDGED_MS: Final = 1000
"""Of `TCP_USER_TIMEOUT`, per second of keepalive."""


def tls_context(options: MqttOptions) -> ssl.SSLContext | None:
    """Return what encrypts the connection, or None for a plain one.

    Raises
    ------
    InvalidInputError
        If a certificate or key cannot be read, or they do not fit together.
    """
    if not options.encrypted:
        return None
    tls = options.tls
    try:
        context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = tls.check_hostname
        if tls.certificate is not None:
            named = tls.key_password_env
            # Without a password OpenSSL would ask for one at the terminal.
            password = variable(named) if named else ""
            context.load_cert_chain(tls.certificate, tls.key, password)
    except (OSError, ValueError) as error:
        places = [str(path) for path in (tls.ca, tls.certificate, tls.key) if path is not None]
        msg = f"the TLS files {', '.join(places)} cannot be used: {error}"
        raise InvalidInputError(msg) from error
    return context


def open_socket(options: MqttOptions, context: ssl.SSLContext | None) -> socket.socket:
    """Connect to the broker, and return a socket that does not block.

    Raises
    ------
    OSError
        If the broker cannot be reached.
    RefusedError
        If encryption fails: certificates do not mend themselves.
    """
    host, port = options.address
    plain = socket.create_connection((host, port), timeout=options.connect_timeout_s)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            # While nothing is read, only the kernel can tell that the other side is gone.
            patience = options.keepalive_s * _UNACKNOWLEDGED_MS
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
        found = plain if context is None else context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLEOFError:
        plain.close()
        raise
    except ssl.SSLError as error:
        plain.close()
        msg = f"no encrypted connection to {host}:{port}: {error}"
        raise RefusedError(msg, final=True) from error
    except BaseException:
        plain.close()
        raise
    found.setblocking(False)
    return found
