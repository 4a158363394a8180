"""Messages of an MQTT broker as a live source of rows."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.connectors.mqtt.connection import Connection
from pipeline.connectors.mqtt.inbox import Inbox
from pipeline.connectors.mqtt.options import MqttOptions
from pipeline.connectors.mqtt.packets import Receipts
from pipeline.connectors.mqtt.session import Session
from pipeline.connectors.payloads import Message, RebirthRequest, rebirth_command
from pipeline.model.live_sources import LiveBatch, LiveHost

__all__ = ["MqttSource"]

type _Debts = dict[Session, tuple[bytearray, Receipts]]
"""By connection, what acknowledges messages that came on it."""


class MqttSource:
    """A `pipeline.model.live_sources.LiveSource` over one connection to a broker.

    A message is acknowledged after `acknowledge`, on the connection on which it came and on no
    other: packet identifiers mean something else on the next one, where the broker sends what
    was not acknowledged again. Messages with QoS 2 are acknowledged by PUBREC then; until that
    the broker keeps them, whatever happens here. They come again only if the process ended, or
    the connection broke, between the two.

    Parameters
    ----------
    options
        What was declared.
    name
        Under which counters and quarantined rows are known; by default the client id.

    Raises
    ------
    InvalidInputError
        If TLS files cannot be used.
    MissingDependencyError
        If the payload format needs a library that is not installed.
    """

    def __init__(self, options: MqttOptions, name: str = "") -> None:
        self._options = options
        self._name = name or options.client_id or options.url
        self._decoder = options.payload.decoder()
        self._inbox = Inbox(options.limits)
        self._connection = Connection(options, self._inbox)
        self._debts: deque[tuple[int, _Debts]] = deque()
        self._batches = 0
        self._rejected = 0
        self._rebirths = 0

    @property
    def name(self) -> str:
        """Under which counters and quarantined rows are known."""
        return self._name

    @property
    def replays(self) -> bool:
        """False: a broker forgets what was acknowledged, so it is logged before."""
        return False

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables."""
        return self._decoder.arrow_schema()

    def start(self, host: LiveHost) -> None:  # noqa: ARG002 there are no positions to ask for
        """Connect and subscribe; if the broker cannot be reached, go on trying after this.

        Raises
        ------
        InvalidInputError
            If the broker refuses: a wrong password, a certificate that it does not trust, a
            subscription that is not allowed.
        """
        self._connection.start()

    def poll(self, timeout: float) -> LiveBatch | None:
        """Return what came, decoded, or None if nothing did for `timeout` seconds.

        Raises
        ------
        RuntimeError
            If the thread that reads the broker has ended by an error.
        """
        had_room = self._inbox.has_room
        arrived = self._inbox.take(timeout)
        if not arrived:
            return None
        if not had_room:
            self._connection.wake()
        messages: list[Message] = []
        debts: _Debts = {}
        for session, arrivals in arrived:
            messages += arrivals.messages
            if arrivals.acks:
                acks, receipts = debts.setdefault(session, (bytearray(), {}))
                acks += arrivals.acks
                receipts |= arrivals.receipts
        decoded = self._decoder.decode(messages)
        self._answer(decoded.events)
        self._rejected += len(decoded.rejects)
        self._batches += 1
        self._debts.append((self._batches, debts))
        return LiveBatch(
            decoded.table,
            decoded.quarantine(self._name),
            decoded.tags,
            messages=len(messages),
            bytes=sum(arrivals.read for _, arrivals in arrived),
            token=self._batches,
        )

    def _answer(self, events: Sequence[Any]) -> None:
        for event in events:
            if isinstance(event, RebirthRequest):
                self._rebirths += 1
                self._connection.publish(event.topic, rebirth_command(time.time_ns() // 1_000_000))

    def acknowledge(self, token: Any) -> None:
        """Acknowledge the messages of the batch with this token, and of all before it."""
        while self._debts and self._debts[0][0] <= token:
            for session, (acks, receipts) in self._debts.popleft()[1].items():
                self._connection.acknowledge(session, acks, receipts)

    def pause(self) -> None:
        """Read no more from the broker. The connection stays."""
        self._connection.pause(paused=True)

    def resume(self) -> None:
        """Read on."""
        self._connection.pause(paused=False)

    def counters(self) -> Mapping[str, int | float | str]:
        """Return what the source has done so far.

        Of note: ``sessions_lost`` counts how often the broker had forgotten the session, and
        with it messages that nobody had acknowledged; ``acknowledgements_dropped`` those of
        batches whose connection was gone, so that their messages come again.
        """
        connection = self._connection
        return {
            **connection.counts,
            "connected": int(connection.is_connected),
            "granted_qos": connection.granted_qos,
            "last_error": connection.last_error,
            "waiting_bytes": self._inbox.held,
            "unacknowledged_batches": len(self._debts),
            "rejected": self._rejected,
            "rebirths_requested": self._rebirths,
        }

    def stop(self) -> None:
        """Tell the broker farewell. What was not acknowledged comes again."""
        self._connection.stop()
