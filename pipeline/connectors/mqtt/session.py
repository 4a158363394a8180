"""The protocol of one connection: bytes and the clock go in, bytes and messages come out."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Final

from pipeline.connectors.mqtt.options import MqttOptions
from pipeline.connectors.mqtt.packets import Arrivals, PacketReader, Receipts
from pipeline.connectors.mqtt.reasons import RefusedError, connect_refusal, reason_text
from pipeline.connectors.mqtt.wire import (
    CONNACK,
    DISCONNECT,
    PINGRESP,
    PUBACK,
    PUBREL,
    SUBACK,
    ProtocolViolationError,
    acknowledgements,
    connect_packet,
    disconnect_packet,
    ping_packet,
    publish_packet,
    read_properties,
    subscribe_packet,
)

__all__ = ["Session", "Told", "status_payload"]

_SUBSCRIPTION: Final = b"\0\1"
_NEW_SUBSCRIPTIONS_ONLY: Final = 1
_NEVER: Final = 2


def status_payload(*, online: bool, timestamp: int) -> bytes:
    """Return what stands on the status topic; `timestamp` in milliseconds since 1970 UTC."""
    return json.dumps({"online": online, "timestamp": timestamp}).encode()


@dataclass(slots=True)
class Told:
    """What a broker said when the connection was opened.

    Parameters
    ----------
    opened
        It accepted the connection.
    present
        It still had the session.
    ready
        It took the subscriptions. What it kept for the session may come before it says so.
    qos
        The lowest quality of service that it granted.
    """

    opened: bool = False
    present: bool = False
    ready: bool = False
    qos: int = 2


class Session:
    """One connection.

    Parameters
    ----------
    options
        What was declared.
    receipts
        QoS 2 messages that were acknowledged on earlier connections; kept up to date here.
    now
        Seconds of a clock that never goes back.
    timestamp
        Milliseconds since 1970-01-01 UTC, for the status.

    Attributes
    ----------
    outgoing : bytearray
        Bytes to be sent; whoever sends them takes them away.
    told : Told
        What the broker said.

    Raises
    ------
    InvalidInputError
        If the password cannot be read.
    """

    def __init__(
        self, options: MqttOptions, receipts: Receipts, now: float, timestamp: int
    ) -> None:
        self._options = options
        self._receipts = receipts
        self._timestamp = timestamp
        self._reader = PacketReader(options.level, receipts, retained=options.stores_retained)
        self._numbers = 1
        self._unconfirmed: set[bytes] = set()
        self._half = options.keepalive_s / 2
        self._sent = self._heard = now
        self._pinged: float | None = None
        self.told = Told()
        self.outgoing = bytearray(self._connect())

    def _connect(self) -> bytes:
        options = self._options
        status = options.status_topic
        persistent = options.session == "persistent"
        will = status_payload(online=False, timestamp=self._timestamp)
        return connect_packet(
            version=options.level,
            client_id=options.client_id,
            clean=not persistent,
            keepalive=options.keepalive_s,
            username=options.username,
            password=options.password(),
            will=(status, will) if status else None,
            session_expiry=options.session_expiry_s if persistent else 0,
            receive_maximum=options.limits.receive_maximum,
        )

    def receive(self, data: bytes, now: float, received: int) -> Arrivals:
        """Take bytes of the broker in.

        Parameters
        ----------
        data
            Any part of the stream.
        now
            Seconds, as of the constructor.
        received
            Microseconds since 1970-01-01 UTC.

        Raises
        ------
        RefusedError
            If the broker wants neither connection nor subscription.
        ProtocolViolationError
            If it sends what it must not.
        """
        self._heard = now
        self._pinged = None
        arrivals = self._reader.read(data, received)
        if arrivals.repeated:
            self.outgoing += acknowledgements(5, arrivals.repeated)
        try:
            self._control(arrivals)
        except IndexError:
            msg = "a packet is shorter than its parts"
            raise ProtocolViolationError(msg) from None
        return arrivals

    def _control(self, arrivals: Arrivals) -> None:
        released = []
        for first, body in arrivals.control:
            kind = first >> 4
            if kind == PUBREL:
                self._receipts.pop(body[:2], None)
                released.append(body[:2])
            elif kind == PUBACK:
                self._unconfirmed.discard(body[:2])
            elif kind == CONNACK and not self.told.opened:
                self._accepted(body)
            elif kind == SUBACK:
                self._subscribed(body)
            elif kind == DISCONNECT and self._options.level == 5:
                code = body[0] if body else 0
                msg = f"the broker ends the connection: {reason_text(code)}"
                raise RefusedError(msg, final=False)
            elif kind != PINGRESP:
                msg = f"a packet of type {kind} is not expected here"
                raise ProtocolViolationError(msg)
        # The messages are safe: only those were acknowledged by a PUBREC.
        self.outgoing += acknowledgements(7, released)

    def _accepted(self, body: bytes) -> None:
        told = read_properties(body, 2)[0] if self._options.level == 5 and len(body) > 2 else {}
        if body[1]:
            raise connect_refusal(self._options.level, body[1], told.get(31, ""))
        if self._options.shared_group and told.get(42) == 0:
            raise RefusedError(reason_text(0x9E), final=True)
        self.told.opened = True
        self.told.present = bool(body[0] & 1)
        if not self.told.present:
            self._receipts.clear()
        if 19 in told:
            self._half = (told[19] or 65535) / 2
        options = self._options
        handling = _NEW_SUBSCRIPTIONS_ONLY if options.stores_retained else _NEVER
        self.outgoing += subscribe_packet(
            1,
            options.filters,
            options.qos,
            version=options.level,
            own=bool(options.shared_group),  # MQTT 5 forbids the other for shared subscriptions
            retain_handling=handling,
        )
        if options.status_topic:
            self.publish_status(online=True, timestamp=self._timestamp)

    def _subscribed(self, body: bytes) -> None:
        start = read_properties(body, 2)[1] if self._options.level == 5 else 2
        codes = body[start:]
        if body[:2] != _SUBSCRIPTION or len(codes) != len(self._options.filters):
            msg = "a subscription is confirmed that was not asked for"
            raise ProtocolViolationError(msg)
        for name, code in zip(self._options.filters, codes, strict=True):
            if code >= 0x80:
                words = reason_text(code) if code > 0x80 else "it is not allowed"
                msg = f"the broker refuses the subscription to {name!r}: {words}"
                raise RefusedError(msg, final=True)
        self.told.qos = min(codes)
        self.told.ready = True

    def acknowledge(self, acks: bytes | bytearray, receipts: Receipts) -> None:
        """Acknowledge messages that came on this connection; of no other may it be told."""
        self._receipts |= receipts
        self.outgoing += acks

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish a message with QoS 0."""
        self.outgoing += publish_packet(topic, payload, version=self._options.level)

    def publish_status(self, *, online: bool, timestamp: int) -> None:
        """Publish the archive's state, retained, with QoS 1."""
        self._numbers += 1
        self._unconfirmed.add(struct.pack(">H", self._numbers))
        self.outgoing += publish_packet(
            self._options.status_topic,
            status_payload(online=online, timestamp=timestamp),
            version=self._options.level,
            qos=1,
            retain=True,
            number=self._numbers,
        )

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has confirmed every state that was published."""
        return not self._unconfirmed

    def disconnect(self) -> None:
        """End the connection in order."""
        self.outgoing += disconnect_packet()

    def sent(self, now: float) -> None:
        """Take note that bytes were sent."""
        self._sent = now

    def tick(self, now: float, *, reading: bool) -> None:
        """Ask for a sign of life if there was none for half the keepalive.

        Parameters
        ----------
        now
            Seconds, as of the constructor.
        reading
            Whether the socket is read. While it is not, silence tells nothing.

        Raises
        ------
        TimeoutError
            If the broker does not answer.
        """
        if not reading:
            self._heard = now
            self._pinged = None
        if self._pinged is not None and now - self._pinged >= self._half:
            msg = f"the broker has been silent for {now - self._heard:.0f} seconds"
            raise TimeoutError(msg)
        idle = now - self._sent >= self._half or now - self._heard >= self._half
        if self.told.opened and self._pinged is None and idle:
            self.outgoing += ping_packet()
            self._sent = now
            self._pinged = now if reading else None
