"""What the library returns is sorted into partitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_NOT_AVAILABLE, KafkaError

from pipeline.connectors.kafka.partitions import Partitions
from pipeline.connectors.kafka.receiving import Receiver
from pipeline.connectors.kafka.tally import Tally

NOW = 1_700_000_000_000_000


@dataclass
class Fake:
    """A message of the library."""

    place: tuple[str, int]
    at: int
    payload: bytes | None = b"{}"
    stamp: tuple[int, int] = (TIMESTAMP_CREATE_TIME, 5)
    wrong: int | None = None
    pairs: list[tuple[str, bytes | None]] | None = field(default=None)

    def error(self) -> KafkaError | None:
        return None if self.wrong is None else KafkaError(self.wrong)

    def topic(self) -> str:
        return self.place[0]

    def partition(self) -> int:
        return self.place[1]

    def offset(self) -> int:
        return self.at

    def value(self) -> bytes | None:
        return self.payload

    def key(self) -> bytes | None:
        return None

    def headers(self) -> Any:
        return self.pairs

    def timestamp(self) -> tuple[int, int]:
        return self.stamp


ONE, OTHER = ("t", 0), ("t", 1)


def receiver() -> tuple[Receiver, Partitions, Tally]:
    """Return a receiver of two partitions at offset 10."""
    partitions, tally = Partitions(), Tally()
    partitions.place(ONE, 10)
    partitions.place(OTHER, 10)
    end = KafkaError._PARTITION_EOF
    return Receiver(partitions, tally, end, lambda: NOW), partitions, tally


def test_only_what_is_at_or_after_the_position_of_a_partition_that_is_read_counts() -> None:
    sorts, partitions, tally = receiver()
    sorts.receive([Fake(ONE, 9), Fake(ONE, 10), Fake(("t", 2), 1), Fake(OTHER, 15), Fake(ONE, 10)])
    assert {place: one.next for place, one in partitions.read.items()} == {ONE: 11, OTHER: 16}
    assert (tally.messages, tally.dropped) == (2, 3)


def test_messages_of_an_earlier_time_are_dropped() -> None:
    sorts, partitions, tally = receiver()
    sorts.receive([Fake(ONE, 10), Fake(OTHER, 10)], {ONE})
    assert partitions.read[ONE].messages == []
    assert partitions.read[ONE].next == 10
    assert (tally.messages, tally.dropped) == (1, 1)


def test_ends_of_partitions_move_positions_past_what_is_never_delivered() -> None:
    sorts, partitions, tally = receiver()
    end = KafkaError._PARTITION_EOF
    found = [Fake(ONE, 12, wrong=end), Fake(OTHER, 3, wrong=end), Fake(("t", 2), 1, wrong=end)]
    assert sorts.receive(found) == []
    assert [one.next for one in partitions.read.values()] == [12, 10]
    assert tally.connected == 1


def test_errors_are_returned() -> None:
    sorts, _, tally = receiver()
    wrong = Fake(ONE, 10, wrong=KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert sorts.receive([Fake(OTHER, 10), wrong]) == [wrong]
    assert tally.messages == 1


def test_impossible_timestamps_count_as_received_now() -> None:
    sorts, partitions, tally = receiver()
    stamps = [
        (TIMESTAMP_CREATE_TIME, 7),
        (TIMESTAMP_CREATE_TIME, -1),
        (TIMESTAMP_CREATE_TIME, 2**62),
        (TIMESTAMP_NOT_AVAILABLE, 0),
    ]
    sorts.receive([Fake(ONE, 10 + at, stamp=stamp) for at, stamp in enumerate(stamps)])
    received = [message.received for message in partitions.read[ONE].messages]
    assert received == [7000, NOW, NOW, NOW]
    assert tally.odd_timestamps == 3


def test_tombstones_move_positions_and_empty_payloads_are_messages() -> None:
    sorts, partitions, tally = receiver()
    sorts.receive([Fake(ONE, 10, None), Fake(ONE, 11, b"")])
    assert partitions.read[ONE].next == 12
    assert [message.payload for message in partitions.read[ONE].messages] == [b""]
    assert (tally.messages, tally.tombstones) == (2, 1)


def test_headers_without_a_value_are_empty() -> None:
    sorts, partitions, _ = receiver()
    sorts.receive([Fake(ONE, 10, pairs=[("a", b"1"), ("b", None)])])
    assert partitions.read[ONE].messages[0].headers == (("a", b"1"), ("b", b""))
