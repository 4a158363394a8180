"""The bytes of a connection to messages, and to the packets that are about the connection.

This is the loop that every message goes through: 1 to 2 microseconds each, so it reads
positions in one bytes object and makes nothing but the message itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pipeline.connectors.mqtt.wire import (
    ProtocolViolationError,
    acknowledgements,
    read_properties,
)
from pipeline.connectors.payloads import Message

__all__ = ["MESSAGE_WEIGHT", "Arrivals", "PacketReader", "Receipts"]

MESSAGE_WEIGHT: Final = 300
"""Bytes that a waiting message takes beside its payload: its objects, and its acknowledgement."""

_TOPICS: Final = 200_000  # remembered; some 40 MB at worst

type Receipts = dict[bytes, int]
"""Packet identifiers of QoS 2 that were acknowledged and not yet released, with a hash of what
they named: after a restored backup a broker may use an identifier for another message."""


@dataclass(slots=True, eq=False)
class Arrivals:
    """What one read of a connection brought.

    Parameters
    ----------
    messages
        In the order in which they came.
    acks
        The packets that acknowledge them (PUBACK and PUBREC), for the connection they came on.
    receipts
        What the acknowledgement of those with QoS 2 adds to `Receipts`.
    size
        Bytes that waiting for their turn takes.
    read
        Bytes of the messages' packets.
    ignored
        Number of retained messages that were passed over; they are acknowledged with the rest.
    repeated
        Packet identifiers of QoS 2 messages that came again though they are safe.
    control
        Other packets: first byte and body.
    """

    messages: list[Message] = field(default_factory=list)
    acks: bytes = b""
    receipts: Receipts = field(default_factory=dict)
    size: int = 0
    read: int = 0
    ignored: int = 0
    repeated: list[bytes] = field(default_factory=list)
    control: list[tuple[int, bytes]] = field(default_factory=list)


class PacketReader:
    """Cuts the bytes of one connection into packets.

    Parameters
    ----------
    version
        4 for MQTT 3.1.1, or 5.
    receipts
        What of QoS 2 was acknowledged; looked at only.
    retained
        Whether messages are kept that the broker had retained before the subscription.
    """

    def __init__(self, version: int, receipts: Receipts, *, retained: bool) -> None:
        self._five = version == 5
        self._receipts = receipts
        self._retained = retained
        self._held = bytearray()
        self._needed = 0
        self._received = 0
        self._topics: dict[bytes, str] = {}

    def read(self, data: bytes, received: int) -> Arrivals:
        """Take bytes in.

        Parameters
        ----------
        data
            Any part of the stream.
        received
            When it arrived: microseconds since 1970-01-01 UTC. Messages get times of their own,
            one microsecond apart, because rows of a device without a time in the message would
            be duplicates otherwise.

        Raises
        ------
        ProtocolViolationError
            If they are no MQTT.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return Arrivals()
            data = bytes(self._held)
            self._held.clear()
        found = Arrivals()
        self._received = max(received, self._received)
        try:
            done = self._cut(data, found)
        except IndexError:
            msg = "a packet is shorter than its parts"
            raise ProtocolViolationError(msg) from None
        self._held += data[done:]
        found.size = found.read + MESSAGE_WEIGHT * len(found.messages)
        return found

    def _cut(self, data: bytes, found: Arrivals) -> int:
        """Read the whole packets in `data`, and return where the first unfinished one begins."""
        five, topics, keep, new = self._five, self._topics, found.messages.append, tuple.__new__
        once: list[bytes] = []
        exact: list[bytes] = []
        received, position, size = self._received, 0, len(data)
        self._needed = 2
        while position + 2 <= size:
            first = data[position]
            length = data[position + 1]
            at = position + 2
            if length > 127:
                length, at = _length(data, position + 1)
                if length < 0:
                    break
            end = at + length
            if end > size:
                self._needed = end - position
                break
            if first >> 4 != 3:
                found.control.append((first, data[at:end]))
                position = end
                continue
            stop = at + 2 + (data[at] << 8 | data[at + 1])
            raw = data[at + 2 : stop]
            number = b""
            if first & 6:
                number = data[stop : stop + 2]
                stop += 2
            headers: tuple[tuple[str, str | bytes], ...] = ()
            if five:
                if data[stop]:
                    told, stop = read_properties(data, stop)
                    headers = tuple(told.get(38, ()))
                else:
                    stop += 1
            if stop > end:
                msg = "a message is shorter than its topic and properties"
                raise ProtocolViolationError(msg)
            payload = data[stop:end]
            found.read += end - position
            position = end
            if first & 4:
                mark = hash((raw, payload))
                if first & 8 and self._receipts.get(number) == mark:
                    found.repeated.append(number)
                    continue
                exact.append(number)
                found.receipts[number] = mark
            elif number:
                once.append(number)
            if first & 1 and not self._retained:
                found.ignored += 1
                continue
            received += 1
            topic = topics.get(raw) or self._topic(raw)
            keep(new(Message, (topic, payload, received, None, headers)))
        self._received = received
        found.acks = acknowledgements(4, once) + acknowledgements(5, exact)
        return position

    def _topic(self, raw: bytes) -> str:
        if len(self._topics) >= _TOPICS:
            self._topics.clear()
        return self._topics.setdefault(raw, raw.decode("utf-8", "backslashreplace"))


def _length(data: bytes, position: int) -> tuple[int, int]:
    """Return a remaining length of several bytes and where it ends; -1 if it is not all there."""
    value = 0
    for step in range(4):
        if position + step >= len(data):
            return -1, position
        byte = data[position + step]
        value |= (byte & 127) << 7 * step
        if byte < 128:
            return value, position + step + 1
    msg = "a remaining length has more than four bytes"
    raise ProtocolViolationError(msg)
