"""The chain of positions, apart from any broker."""

from __future__ import annotations

from pipeline.connectors.kafka.partitions import Handed, Partitions, archived_offset
from pipeline.connectors.payloads import Message

ONE, OTHER = ("t", 0), ("t", 1)


def read(partitions: Partitions, place: tuple[str, int], upto: int) -> None:
    """Have a message come, the last of which has the offset before `upto`."""
    partitions.read[place].messages.append(Message("t", b"", 0))
    partitions.read[place].next = upto


def test_batches_form_a_chain() -> None:
    partitions = Partitions()
    partitions.place(ONE, 5)
    partitions.place(OTHER, 0)
    assert not partitions.has_news()
    read(partitions, ONE, 9)
    messages, positions, expects, first = partitions.take()
    assert (len(messages), positions, expects) == (1, {"t": {"0": 9}}, {"t": {"0": 5}})
    read(partitions, ONE, 12)
    read(partitions, OTHER, 3)
    _, positions, expects, second = partitions.take()
    assert positions == {"t": {"0": 12, "1": 3}}
    assert expects == {"t": {"0": 9, "1": 0}}
    assert first.ends.keys() == {ONE}
    assert second.ends.keys() == {ONE, OTHER}


def test_a_beginning_that_the_archive_does_not_know_is_told_without_messages() -> None:
    partitions = Partitions()
    partitions.place(ONE, 7, 7)
    assert partitions.has_news()
    assert partitions.take()[1:3] == ({"t": {"0": 7}}, {"t": {"0": 7}})
    assert not partitions.has_news()


def test_moves_without_messages_are_told_when_asked_for() -> None:
    partitions = Partitions()
    partitions.place(ONE, 0)
    partitions.read[ONE].next = 4
    assert not partitions.has_news()
    partitions.tell_moves()
    assert partitions.take()[1:3] == ({"t": {"0": 4}}, {"t": {"0": 0}})


def test_what_was_buffered_goes_with_its_partition() -> None:
    partitions = Partitions()
    partitions.place(ONE, 0)
    partitions.place(OTHER, 0)
    read(partitions, ONE, 1)
    read(partitions, OTHER, 1)
    assert partitions.drop([ONE, ("t", 9)]) == 1
    messages, positions, _, _ = partitions.take()
    assert (len(messages), positions) == (1, {"t": {"1": 1}})


def astray(known: dict[str, object]) -> dict[tuple[str, int], int]:
    """Return what is astray after 0 to 10 was acknowledged and 10 to 20 is on its way."""
    partitions = Partitions()
    partitions.place(ONE, 0)
    read(partitions, ONE, 10)
    acknowledged = partitions.take()[-1]
    read(partitions, ONE, 20)
    partitions.take()
    return partitions.astray(acknowledged, known)


def test_an_archive_that_goes_another_way_is_found() -> None:
    assert astray({"t": {"0": 10}}) == astray({"t": {"0": 15}}) == astray({"t": {"0": 20}}) == {}
    assert astray({"t": {"0": 5}}) == {ONE: 5}, "the batch was left out"
    assert astray({"t": {"0": 21}}) == {ONE: 21}, "another reader is further"
    assert astray({}) == {}


def test_acknowledgements_of_an_earlier_turn_say_nothing() -> None:
    partitions = Partitions()
    partitions.place(ONE, 0)
    read(partitions, ONE, 10)
    old = partitions.take()[-1]
    partitions.place(ONE, 4)
    assert partitions.astray(old, {"t": {"0": 4}}) == {}
    assert partitions.astray(Handed({OTHER: (3, 1)}), {"t": {"1": 1}}) == {}


def test_positions_of_another_form_are_none() -> None:
    assert archived_offset({"t": {"0": 3}}, ONE) == 3
    assert archived_offset({"t": 3}, ONE) is None
    assert archived_offset({"t": {"0": "3"}}, ONE) is None
