"""Where each partition of a source stands, apart from any broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.connectors.payloads import Message

__all__ = ["Handed", "Partition", "Partitions", "Place", "archived_offset"]

type Place = tuple[str, int]
"""A topic and the number of a partition."""


@dataclass(slots=True, eq=False)
class Partition:
    """One partition that is read.

    Parameters
    ----------
    expected
        Offset up to which everything has been handed over, which the next batch has to find in
        the archive.
    next
        Offset of the next message.
    due
        Whether the position is to be told even if no message comes.
    turn
        Number of the time that it was placed, for acknowledgements that come late.
    messages
        Messages that are not handed over yet.
    """

    expected: int
    next: int
    due: bool = False
    turn: int = 0
    messages: list[Message] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Handed:
    """Where a batch ends, by topic and partition: the next offset, and the partition's turn."""

    ends: Mapping[Place, tuple[int, int]]


class Partitions:
    """The partitions that are read, and the chain of positions that their batches form.

    Offsets have gaps: records that compaction removed, markers of transactions, and records of
    transactions that were aborted. A position is therefore the *next* offset, never a count.
    """

    def __init__(self) -> None:
        self.read: dict[Place, Partition] = {}
        self._turns = 0

    def place(self, place: Place, expected: int, start: int | None = None) -> None:
        """Read a partition from an offset; what was buffered of it is dropped.

        Parameters
        ----------
        place
            Topic and partition.
        expected
            Where the archive stands, or where reading begins if it does not know the partition.
        start
            Where to read from, if that is another offset.
        """
        self._turns += 1
        at = expected if start is None else start
        self.read[place] = Partition(expected, at, due=start is not None, turn=self._turns)

    def drop(self, places: Iterable[Place]) -> int:
        """Let go of partitions; return how many messages were buffered of them."""
        gone = [self.read.pop(place, None) for place in places]
        return sum(len(one.messages) for one in gone if one is not None)

    def has_news(self) -> bool:
        """Return whether there is something to hand over."""
        return any(one.messages or one.due for one in self.read.values())

    def tell_moves(self) -> None:
        """Have the next batch tell every position that moved, though no message came.

        Tombstones, aborted messages and the ends of transactions move positions. Told now and
        then, they keep the lag that others see at nothing when there is nothing.
        """
        for one in self.read.values():
            one.due |= one.next != one.expected

    def take(self) -> tuple[list[Message], dict[str, Any], dict[str, Any], Handed]:
        """Hand over what is buffered.

        Returns
        -------
        tuple
            Messages, of one partition after the other; positions after them and before them, as
            `pipeline.model.live_sources.LiveBatch` has them; and the token.
        """
        messages: list[Message] = []
        positions: dict[str, Any] = {}
        expects: dict[str, Any] = {}
        ends: dict[Place, tuple[int, int]] = {}
        for place, one in self.read.items():
            if not (one.messages or one.due or one.next != one.expected):
                continue
            topic, number = place
            expects.setdefault(topic, {})[str(number)] = one.expected
            positions.setdefault(topic, {})[str(number)] = one.next
            ends[place] = (one.next, one.turn)
            messages += one.messages
            one.messages, one.expected, one.due = [], one.next, False
        return messages, positions, expects, Handed(ends)

    def astray(self, handed: Handed, known: Mapping[str, Any]) -> dict[Place, int]:
        """Return partitions whose batches can no longer be stored, with where the archive stands.

        The archive left a batch out if it is not as far as an acknowledged batch, and has rows
        from another reader if it is further than everything that was handed over. In both cases
        reading has to go on from where it stands.

        Parameters
        ----------
        handed
            The last batch that was acknowledged.
        known
            Positions of the archive.
        """
        found = {}
        for place, (end, turn) in handed.ends.items():
            one = self.read.get(place)
            at = archived_offset(known, place)
            if one is None or one.turn != turn or at is None:
                continue
            if at < end or at > one.expected:
                found[place] = at
        return found


def archived_offset(known: Mapping[str, Any], place: Place) -> int | None:
    """Return the next offset of a partition by the archive's positions; None if it has none."""
    topic = known.get(place[0])
    found = topic.get(str(place[1])) if isinstance(topic, Mapping) else None
    return found if isinstance(found, int) else None
