"""Why brokers refuse, in words."""

from __future__ import annotations

from typing import Final

__all__ = ["RefusedError", "connect_refusal", "reason_text"]

_OLD: Final = {
    1: "it does not speak MQTT 3.1.1",
    2: "it does not like the client id",
    3: "it is not available",
    4: "the username or the password is wrong",
    5: "the client is not authorized: look at username, password, certificate and the broker's lists",
}
_NEW: Final = {
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "refused for a reason of its own",
    0x84: "it does not speak MQTT 5; set version: 3.1.1",
    0x85: "it does not like the client id",
    0x86: "the username or the password is wrong",
    0x87: "the client is not authorized: look at username, password, certificate and the broker's lists",
    0x88: "it is not available",
    0x89: "it is busy",
    0x8A: "the client is banned",
    0x8B: "it shuts down",
    0x8C: "the way of authentication is wrong",
    0x8D: "nothing came for longer than the keepalive",
    0x8E: "another client connected with the same client_id",
    0x8F: "the topic filter is not allowed",
    0x90: "the topic is not allowed",
    0x93: "more messages were in flight than the receive maximum",
    0x95: "a packet is too large",
    0x97: "a quota is exceeded",
    0x98: "its administrator cut the connection",
    0x9A: "it does not keep retained messages, so a status topic is not possible",
    0x9B: "it does not offer this quality of service",
    0x9C: "another server should be used",
    0x9D: "the server has moved",
    0x9E: "it does not know shared subscriptions",
    0x9F: "connections come too fast",
    0xA2: "it does not know wildcards in subscriptions",
}
_PASSING: Final = frozenset({0x88, 0x89, 0x8B, 0x97, 0x9F})
"""Reasons that time may mend."""


class RefusedError(Exception):
    """The broker refuses the connection or the subscription.

    Parameters
    ----------
    reason
        Why.
    final
        Whether trying again makes no sense until somebody changes something.
    """

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final


def reason_text(code: int) -> str:
    """Return what a reason code of MQTT 5 means."""
    return _NEW.get(code, f"reason code 0x{code:02X}")


def connect_refusal(version: int, code: int, told: str = "") -> RefusedError:
    """Return the error for the code of a CONNACK.

    Parameters
    ----------
    version
        4 for MQTT 3.1.1, or 5.
    code
        Not 0.
    told
        The broker's own words, if any.
    """
    words = reason_text(code) if version == 5 or code > 5 else _OLD[code]
    reason = f"the broker refuses the connection: {words}{f' ({told})' if told else ''}"
    passing = code in _PASSING if version == 5 else code == 3
    return RefusedError(reason, final=not passing)
