"""How MQTT packets are written, and how the parts of received ones are read. No state, no I/O.

References
----------
MQTT Version 3.1.1 and MQTT Version 5.0, OASIS Standards, sections 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = [
    "CONNACK",
    "DISCONNECT",
    "PINGRESP",
    "PUBACK",
    "PUBREL",
    "SUBACK",
    "ProtocolViolationError",
    "acknowledgements",
    "connect_packet",
    "disconnect_packet",
    "ping_packet",
    "publish_packet",
    "read_properties",
    "subscribe_packet",
    "variable_length",
]

CONNACK, PUBACK, PUBREL, SUBACK, PINGRESP, DISCONNECT = 2, 4, 6, 9, 13, 14
"""Types of the packets that a broker sends besides PUBLISH."""

_KINDS: Final[Mapping[int, str]] = {
    1: "B", 2: "I", 3: "s", 8: "s", 9: "b", 11: "v", 17: "I", 18: "s", 19: "H", 21: "s", 22: "b",
    23: "B", 24: "I", 25: "B", 26: "s", 28: "s", 31: "s", 33: "H", 34: "H", 35: "H", 36: "B",
    37: "B", 38: "p", 39: "I", 40: "B", 41: "B", 42: "B",
}  # fmt: skip
"""Type of each property: integers as of `struct`, string, binary, variable length, pair."""


class ProtocolViolationError(Exception):
    """The broker sent what MQTT does not allow; the connection cannot go on."""


def variable_length(value: int) -> bytes:
    """Return a number of up to 28 bits, seven in a byte.

    Examples
    --------
    >>> variable_length(321).hex()
    'c102'
    """
    told = bytearray()
    while value > 127:
        told.append(value & 127 | 128)
        value >>= 7
    told.append(value)
    return bytes(told)


def _text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + variable_length(len(body)) + body


def connect_packet(
    *,
    version: int,
    client_id: str,
    clean: bool,
    keepalive: int,
    username: str | None = None,
    password: bytes | None = None,
    will: tuple[str, bytes] | None = None,
    session_expiry: int = 0,
    receive_maximum: int = 65535,
) -> bytes:
    """Return a CONNECT.

    Parameters
    ----------
    version
        4 for MQTT 3.1.1, or 5.
    client_id
        Names the session.
    clean
        Forget what the broker kept of it.
    keepalive
        Seconds.
    username, password
        None for none.
    will
        Topic and payload, published with QoS 1 and retained.
    session_expiry
        Seconds for which the broker keeps the session, with version 5.
    receive_maximum
        How many messages with QoS 1 and 2 it may send before one is acknowledged, with version 5.
    """
    flags = clean << 1
    payload = _text(client_id)
    if will is not None:
        flags |= 0b0010_1100
        payload += (b"\0" if version == 5 else b"") + _text(will[0]) + _text(will[1])
    if username is not None:
        flags |= 0b1000_0000
        payload += _text(username)
    if password is not None:
        flags |= 0b0100_0000
        payload += _text(password)
    head = _text("MQTT") + bytes((version, flags)) + struct.pack(">H", keepalive)
    if version == 5:
        told = struct.pack(">BIBH", 17, session_expiry, 33, receive_maximum)
        head += variable_length(len(told)) + told
    return _packet(0x10, head + payload)


def subscribe_packet(
    number: int,
    filters: Iterable[str],
    qos: int,
    *,
    version: int,
    own: bool = True,
    retain_handling: int = 0,
) -> bytes:
    """Return a SUBSCRIBE.

    Parameters
    ----------
    number
        Packet identifier.
    filters
        Topic filters.
    qos
        The highest quality of service.
    version
        4 for MQTT 3.1.1, or 5.
    own
        Whether what the client itself publishes comes back; always with 3.1.1.
    retain_handling
        When retained messages are sent: 0 with each subscription, 1 with a new one, 2 never;
        always 0 with 3.1.1.
    """
    told = qos | (not own) << 2 | retain_handling << 4
    options = bytes((told if version == 5 else qos,))
    body = struct.pack(">H", number) + (b"\0" if version == 5 else b"")
    return _packet(0x82, body + b"".join(_text(name) + options for name in filters))


def publish_packet(
    topic: str, payload: bytes, *, version: int, qos: int = 0, retain: bool = False, number: int = 0
) -> bytes:
    """Return a PUBLISH; `number` is its packet identifier if `qos` is not 0."""
    head = _text(topic) + (struct.pack(">H", number) if qos else b"")
    return _packet(0x30 | qos << 1 | retain, head + (b"\0" if version == 5 else b"") + payload)


def acknowledgements(kind: int, numbers: Iterable[bytes]) -> bytes:
    """Return PUBACK (4), PUBREC (5) or PUBCOMP (7) packets, for success.

    Parameters
    ----------
    kind
        Type of the packets.
    numbers
        Packet identifiers, two bytes each, as they came.
    """
    head = bytes((kind << 4, 2))
    joined = head.join(numbers)
    return head + joined if joined else b""


def ping_packet() -> bytes:
    """Return a PINGREQ."""
    return b"\xc0\0"


def disconnect_packet() -> bytes:
    """Return a DISCONNECT that is normal: the last will is not published."""
    return b"\xe0\0"


def read_properties(data: bytes, position: int) -> tuple[dict[int, Any], int]:
    """Read the properties of a packet of version 5.

    Parameters
    ----------
    data
        Holds the packet.
    position
        Of the length of the properties.

    Returns
    -------
    tuple
        Values by property number (user properties, 38, as a list of pairs), and the position
        behind the properties.

    Raises
    ------
    ProtocolViolationError
        If a property is unknown, or longer than it may be.
    """
    length, position = _variable(data, position)
    end = position + length
    found: dict[int, Any] = {}
    while position < end:
        number = data[position]
        kind = _KINDS.get(number)
        if kind is None:
            msg = f"property {number} is unknown"
            raise ProtocolViolationError(msg)
        value, position = _READERS[kind](data, position + 1)
        if number == 38:
            found.setdefault(38, []).append(value)
        else:
            found[number] = value
    if position != end or end > len(data):
        msg = "properties are longer than their packet says"
        raise ProtocolViolationError(msg)
    return found, end


def _variable(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 21:
            msg = "a length has more than four bytes"
            raise ProtocolViolationError(msg)


def _binary(data: bytes, position: int) -> tuple[bytes, int]:
    start = position + 2
    end = start + (data[position] << 8 | data[position + 1])
    return data[start:end], end


def _string(data: bytes, position: int) -> tuple[str, int]:
    raw, position = _binary(data, position)
    return raw.decode("utf-8", "backslashreplace"), position


def _pair(data: bytes, position: int) -> tuple[tuple[str, str], int]:
    name, position = _string(data, position)
    value, position = _string(data, position)
    return (name, value), position


_READERS: Final[Mapping[str, Any]] = {
    "B": lambda data, position: (data[position], position + 1),
    "H": lambda data, position: (data[position] << 8 | data[position + 1], position + 2),
    "I": lambda data, position: (
        int.from_bytes(data[position : position + 4], "big"),
        position + 4,
    ),
    "s": _string,
    "b": _binary,
    "v": _variable,
    "p": _pair,
}
