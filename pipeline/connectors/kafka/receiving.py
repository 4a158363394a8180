"""Messages of the library to messages for the decoder, partition by partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any, Final

from pipeline.connectors.kafka.partitions import Partition, Partitions, Place
from pipeline.connectors.kafka.tally import Tally
from pipeline.connectors.payloads import Message

__all__ = ["Receiver"]

_EARLIEST_MS: Final = 0
_LATEST_MS: Final = 253_402_300_799_999
"""The end of the year 9999; any producer may write any 64-bit number."""

_NO_TIMESTAMP: Final = 0


class Receiver:
    """Sorts what the library returns into partitions.

    Parameters
    ----------
    partitions
        Those that are read; their positions are moved on.
    tally
        Counts.
    end_of_partition
        The library's code for the event that a partition has no more messages.
    now
        Returns microseconds since 1970-01-01 UTC.
    """

    def __init__(
        self, partitions: Partitions, tally: Tally, end_of_partition: int, now: Callable[[], int]
    ) -> None:
        self._partitions = partitions
        self._tally = tally
        self._end = end_of_partition
        self._now = now

    def receive(self, found: Sequence[Any], unsure: Set[Place] = frozenset()) -> list[Any]:
        """Buffer messages; return those that are errors.

        Parameters
        ----------
        found
            Messages and events of ``confluent_kafka.Consumer.consume``.
        unsure
            Partitions of which messages may be from before they were placed; they are dropped.
        """
        tally = self._tally
        troubles = []
        size = count = 0
        at: Place | None = None
        partition: Partition | None = None
        for one in found:
            error = one.error()
            if error is not None:
                if error.code() == self._end:
                    self._reached(one)
                else:
                    troubles.append(one)
                continue
            topic, number = one.topic(), one.partition()
            if at is None or number != at[1] or topic != at[0]:  # they come in runs
                at = (topic, number)
                partition = None if at in unsure else self._partitions.read.get(at)
            offset = one.offset()
            if partition is None or offset < partition.next:
                tally.dropped += 1
                continue
            partition.next = offset + 1
            count += 1
            payload = one.value()
            if payload is None:
                tally.tombstones += 1
                continue
            size += len(payload)
            headers = one.headers()
            told = () if headers is None else _headers(headers)
            message = Message(topic, payload, self._received(one), one.key(), told)
            partition.messages.append(message)
        tally.messages += count
        tally.bytes += size
        if count:
            tally.connected = 1
        return troubles

    def _received(self, message: Any) -> int:
        """Return the timestamp of a record, or this moment if it has none that can be."""
        kind, stamp = message.timestamp()
        if kind != _NO_TIMESTAMP and _EARLIEST_MS <= stamp <= _LATEST_MS:
            return int(stamp) * 1000
        self._tally.odd_timestamps += 1
        return self._now()

    def _reached(self, event: Any) -> None:
        """Move on to the end of a partition, past records that are never delivered."""
        self._tally.connected = 1
        partition = self._partitions.read.get((event.topic(), event.partition()))
        if partition is not None:
            partition.next = max(partition.next, event.offset())


def _headers(found: Sequence[tuple[str, bytes | None]]) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((name, b"" if value is None else value) for name, value in found)
