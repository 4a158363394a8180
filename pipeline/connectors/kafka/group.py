"""Membership of a consumer group: which partitions are read, and where they begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pipeline.connectors.kafka.library import LOG, kafka_library
from pipeline.connectors.kafka.partitions import Handed, Partitions, Place, archived_offset
from pipeline.connectors.kafka.placing import Placing
from pipeline.connectors.kafka.receiving import Receiver
from pipeline.errors import InvalidInputError, StorageError
from pipeline.model.live_sources import LiveHost

if TYPE_CHECKING:
    from pipeline.connectors.kafka.options import KafkaOptions
    from pipeline.connectors.kafka.tally import Tally

__all__ = ["Group"]

_TRY_AGAIN_S: Final = 1.0
_LAG_QUERY_S: Final = 1.0
_LEAVE_S: Final = 5.0


class Group:
    """What a consumer reads, kept in step with the archive.

    The library calls back while it is polled. An error raised in there would have it throw the
    messages of that call away, so callbacks keep errors for `mend` to raise.

    Parameters
    ----------
    consumer
        Of the library.
    options
        The declaration.
    host
        Knows the archive's positions.
    tally
        Counts.
    counts
        How many partitions each topic has.
    """

    def __init__(
        self,
        consumer: Any,
        options: KafkaOptions,
        host: LiveHost,
        tally: Tally,
        counts: Mapping[str, int],
    ) -> None:
        self._library = kafka_library()
        self._consumer = consumer
        self._options = options
        self._host = host
        self._tally = tally
        self._placing = Placing(consumer, options, counts)
        self.partitions = Partitions()
        self._receiver = Receiver(
            self.partitions,
            tally,
            self._library.KafkaError._PARTITION_EOF,
            lambda: time.time_ns() // 1000,
        )
        self._unsure: set[Place] = set()
        self._gone: set[Place] = set()
        self._waiting: set[Place] = set()
        self._next_try = 0.0
        self._failure: Exception | None = None
        self._paused = self._leaving = False

    def subscribe(self) -> None:
        """Join the group."""
        self._consumer.subscribe(
            list(self._options.topics),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def leave(self) -> None:
        """Leave the group, and let go of the broker.

        With a commit of offsets on its way the library waits for the coordinator, as long as the
        session may last. It does so alone after a few seconds: these offsets are for tools.
        """
        self._leaving = True
        closing = threading.Thread(target=self._consumer.close, name="kafka-close", daemon=True)
        closing.start()
        closing.join(_LEAVE_S)
        if closing.is_alive():
            LOG.warning(
                "Kafka source %r: no broker answers; the group learns of the end of this reader "
                "when its session times out",
                self._options.source_name,
            )

    def consume(self, most: int, timeout: float) -> tuple[int, list[Any]]:
        """Buffer messages.

        Parameters
        ----------
        most
            How many at most.
        timeout
            Seconds until which fewer are enough.

        Returns
        -------
        tuple
            How many messages and events there were, and those that are errors.

        Raises
        ------
        StorageError
            If the library cannot go on.
        """
        self._gone.clear()
        try:
            found = self._consumer.consume(most, timeout)
        except self._library.KafkaException as error:
            msg = f"Kafka source {self._options.source_name!r} cannot go on, start it anew: {error}"
            raise StorageError(msg) from error
        return len(found), self._receiver.receive(found, self._unsure)

    def mend(self) -> None:
        """Do what could not be done within a callback, and raise what must not be raised there."""
        self._tally.partitions = len(self.partitions.read)
        self._tally.waiting = len(self._waiting)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        for place in self._unsure & self.partitions.read.keys():
            one = self.partitions.read[place]
            self._move(place, one.expected, one.next if one.due else None)
        self._unsure.clear()
        if self._waiting and time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + _TRY_AGAIN_S
            self._place_waiting()

    def out_of_range(self, place: Place) -> None:
        """Go on after the messages at the position of a partition turned out to be gone.

        Raises
        ------
        InvalidInputError
            If ``out_of_range`` is ``"error"``.
        """
        one = self.partitions.read.get(place)
        if one is None:
            return
        try:
            low, high = self._placing.bounds(place)
        except self._library.KafkaException as error:
            self._tally.failed(error)
            self._wait_for(place)
            return
        told = (
            f"Kafka source {self._options.source_name!r}: the messages of topic {place[0]!r}, "
            f"partition {place[1]}, at {one.next} are gone, the broker has {low} to {high}: "
            "retention deleted them, or the topic was made anew"
        )
        self._tally.out_of_range += 1
        if self._options.out_of_range == "error":
            self._wait_for(place)
            msg = f"{told}; out_of_range: earliest goes on with those that are there"
            raise InvalidInputError(msg)
        LOG.warning("%s; going on at %d", told, low)
        self._tally.deleted_unread += max(low - one.next, 0)
        self._tally.dropped += len(one.messages)
        self._move(place, one.expected, low)

    def compare(self, handed: Handed) -> None:
        """Go on from where the archive stands if it does not go the way of this source."""
        astray = self.partitions.astray(handed, self._host.positions())
        for place, offset in astray.items():
            self._tally.repositioned += 1
            LOG.warning(
                "Kafka source %r: the archive is at %d of topic %r, partition %d, after rows of "
                "another reader; going on from there",
                self._options.source_name, offset, *place,
            )  # fmt: skip
            self._tally.dropped += len(self.partitions.read[place].messages)
            self._move(place, offset, None)

    def commit(self, ends: Mapping[Place, int]) -> None:
        """Tell the broker how far the archive is, for tools that show the lag of groups."""
        offsets = [
            self._library.TopicPartition(*place, end)
            for place, end in ends.items()
            if place in self.partitions.read
        ]
        if not offsets:
            return
        self._tally.offset_commits += 1
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except self._library.KafkaException as error:
            self._tally.offset_commit_failures += 1
            self._tally.failed(error)

    def look_at_lag(self) -> None:
        """Count the messages that are not handed over yet.

        The library knows the ends of what it fetches; of paused partitions the broker is asked.
        """
        lags = {}
        try:
            if not self._tally.connected:
                # Of topics in which nothing happens nothing else tells that brokers are back.
                self._consumer.list_topics(timeout=_LAG_QUERY_S)
                self._tally.connected = 1
            for place, one in self.partitions.read.items():
                _, high = self._placing.bounds(place, _LAG_QUERY_S if self._paused else None)
                if high >= 0:
                    lags[place] = max(high - one.next, 0) + len(one.messages)
        except self._library.KafkaException:
            return
        self._tally.lags = lags

    def pause(self) -> None:
        """Have nothing more sent, of partitions that are added later too."""
        self._paused = True
        self._tally.paused = 1
        self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused = False
        self._tally.paused = 0
        self._consumer.resume(self._consumer.assignment())

    def _on_assign(self, _: Any, found: list[Any]) -> None:
        places = _places(found)
        self._tally.rebalances += bool(places)
        begins: dict[Place, tuple[int, bool]] = {}
        try:
            begins = self._placing.begins(places, self._host.positions())
        except self._library.KafkaException as error:
            self._tally.failed(error)
        except Exception as error:  # whatever the archive has to say; see the class
            self._failure = error
        try:
            self._assign({place: begins.get(place, (None, False))[0] for place in places})
        except Exception as error:
            self._failure = error
            return
        self._waiting |= set(places) - begins.keys()
        for place, (offset, is_known) in begins.items():
            self.partitions.place(place, offset, None if is_known else offset)
        # Within one call messages of the earlier time may come out beside those of this one.
        self._unsure |= self._gone & set(places)

    def _on_revoke(self, _: Any, found: list[Any]) -> None:
        places = _places(found)
        self._tally.rebalances += bool(places)
        if places and not self._leaving:
            try:
                self._settle(places)
            except Exception as error:
                self._failure = error
        self._let_go(places)

    def _on_lost(self, _: Any, found: list[Any]) -> None:
        places = _places(found)
        self._tally.rebalances += 1
        self._tally.lost += 1
        LOG.warning(
            "Kafka source %r lost partitions: the group took it for gone", self._options.source_name
        )
        self._let_go(places)

    def _settle(self, places: Iterable[Place]) -> None:
        """Have rows in the archive before the next reader asks where to begin."""
        if not self._host.settle(self._options.settle_timeout_s):
            self._tally.unsettled += 1
            LOG.warning(
                "Kafka source %r gives partitions away before its rows are in the archive: what "
                "the next reader stores first counts",
                self._options.source_name,
            )
        known = self._host.positions()
        offsets = {place: archived_offset(known, place) for place in places}
        self.commit({place: end for place, end in offsets.items() if end is not None})

    def _let_go(self, places: set[Place]) -> None:
        # The library takes the partitions out of the assignment after the callback.
        self._tally.dropped += self.partitions.drop(places)
        self._waiting -= places
        self._gone |= places

    def _place_waiting(self) -> None:
        try:
            begins = self._placing.begins(self._waiting, self._host.positions())
        except self._library.KafkaException as error:
            self._tally.failed(error)
            return
        self._waiting.clear()
        for place, (offset, is_known) in begins.items():
            self._move(place, offset, None if is_known else offset)

    def _move(self, place: Place, expected: int, start: int | None) -> None:
        """Read a partition from another offset, see `Partitions.place`."""
        try:
            self._consumer.incremental_unassign([self._library.TopicPartition(*place)])
            self._assign({place: expected if start is None else start})
        except self._library.KafkaException as error:
            self._tally.failed(error)
            self._wait_for(place)
            return
        self.partitions.place(place, expected, start)

    def _wait_for(self, place: Place) -> None:
        self.partitions.drop([place])
        self._waiting.add(place)

    def _assign(self, begins: Mapping[Place, int | None]) -> None:
        """Have partitions fetched; those without an offset too, though nothing of them is taken."""
        end = self._library.OFFSET_END
        found = [
            self._library.TopicPartition(*place, end if offset is None else offset)
            for place, offset in begins.items()
        ]
        self._consumer.incremental_assign(found)
        if self._paused:
            self._consumer.pause([self._library.TopicPartition(*place) for place in begins])


def _places(found: Iterable[Any]) -> set[Place]:
    return {(one.topic, one.partition) for one in found}
