"""The bytes of a connection are cut into packets, however they arrive."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.mqtt.packets import Arrivals, PacketReader
from pipeline.connectors.mqtt.wire import (
    ProtocolViolationError,
    acknowledgements,
    publish_packet,
    read_properties,
    variable_length,
)

_MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["a", "plants/7/é", "x" * 200]),
        st.one_of(st.binary(max_size=20), st.binary(min_size=120, max_size=140)),
        st.sampled_from([0, 1, 2]),
        st.booleans(),
    ),
    max_size=12,
)


@given(_MESSAGES, st.sampled_from([4, 5]), st.data())
def test_the_places_where_reads_end_do_not_matter(
    messages: list[tuple[str, bytes, int, bool]], version: int, data: st.DataObject
) -> None:
    stream = b""
    for number, (topic, payload, qos, retain) in enumerate(messages, 1):
        stream += publish_packet(
            topic, payload, version=version, qos=qos, retain=retain, number=number
        )
        stream += acknowledgements(6, [struct.pack(">H", number)])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader = PacketReader(version, {}, retained=True)
    found = [reader.read(stream[a:b], 1000) for a, b in pairwise([0, *cuts, len(stream)])]
    told = [(m.topic, m.payload) for arrivals in found for m in arrivals.messages]
    assert told == [(topic, payload) for topic, payload, _, _ in messages]
    times = [m.received for arrivals in found for m in arrivals.messages]
    assert len(set(times)) == len(times)
    numbered = [(number, qos) for number, (_, _, qos, _) in enumerate(messages, 1)]
    for kind, wanted in ((4, 1), (5, 2)):
        sent = [struct.pack(">BBH", kind << 4, 2, n) for n, qos in numbered if qos == wanted]
        assert _of_kind(found, kind) == sent
    assert sum(len(arrivals.control) for arrivals in found) == len(messages)


def _of_kind(found: list[Arrivals], kind: int) -> list[bytes]:
    packets = [
        arrivals.acks[at : at + 4] for arrivals in found for at in range(0, len(arrivals.acks), 4)
    ]
    return [packet for packet in packets if packet[0] >> 4 == kind]


@given(st.binary(max_size=60), st.sampled_from([4, 5]))
def test_bytes_of_strangers_are_packets_or_a_violation(data: bytes, version: int) -> None:
    reader = PacketReader(version, {}, retained=True)
    try:
        arrivals = reader.read(data, 0)
    except ProtocolViolationError:
        return
    assert arrivals.read <= len(data)


@pytest.mark.parametrize(
    "packet",
    [
        b"\x30\xff\xff\xff\xff\x01",  # five bytes of length
        b"\x30\x03\x00\x05a",  # a topic that is longer than its packet
        b"\x30\x01\x00",  # no topic at all
    ],
)
def test_malformed_packets_end_the_connection(packet: bytes) -> None:
    with pytest.raises(ProtocolViolationError):
        PacketReader(4, {}, retained=True).read(packet, 0)


def test_retained_messages_can_be_passed_over_and_are_acknowledged() -> None:
    reader = PacketReader(5, {}, retained=False)
    stream = publish_packet("a", b"old", version=5, qos=1, retain=True, number=1)
    stream += publish_packet("a", b"new", version=5, qos=1, number=2)
    arrivals = reader.read(stream, 0)
    assert [message.payload for message in arrivals.messages] == [b"new"]
    assert arrivals.ignored == 1
    assert arrivals.acks == acknowledgements(4, [b"\0\1", b"\0\2"])


def test_a_safe_message_of_qos_2_is_not_taken_twice_but_another_of_its_number_is() -> None:
    first = publish_packet("a", b"1", version=5, qos=2, number=7)
    again = bytes((first[0] | 8,)) + first[1:]
    other = publish_packet("a", b"2", version=5, qos=2, number=7)
    other_again = bytes((other[0] | 8,)) + other[1:]
    safe = PacketReader(5, {}, retained=True).read(first, 0).receipts
    reader = PacketReader(5, safe, retained=True)
    repeated = reader.read(again, 0)
    assert (repeated.messages, repeated.repeated, repeated.acks) == ([], [b"\0\7"], b"")
    assert [m.payload for m in reader.read(other, 0).messages] == [b"2"]
    assert [m.payload for m in reader.read(other_again, 0).messages] == [b"2"]


def test_every_property_is_read() -> None:
    told = b"\x01\x01" + b"\x02\0\0\0\x09" + b"\x03\0\4json" + b"\x09\0\2\xff\0" + b"\x0b\x81\1"
    told += b"\x23\0\5" + b"\x26\0\1k\0\1v" + b"\x26\0\1k\0\1w"
    found, end = read_properties(variable_length(len(told)) + told + b"rest", 0)
    assert found == {
        1: 1,
        2: 9,
        3: "json",
        9: b"\xff\0",
        11: 129,
        35: 5,
        38: [("k", "v"), ("k", "w")],
    }
    assert end == len(told) + 1


@pytest.mark.parametrize("told", [b"\x04\xff\0\0\0", b"\x02\x03\0\4json"])
def test_broken_properties_are_told(told: bytes) -> None:
    with pytest.raises((ProtocolViolationError, IndexError)):
        read_properties(told, 0)
