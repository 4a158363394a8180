"""Kafka topics as a live source."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from pipeline.connectors.kafka.group import Group
from pipeline.connectors.kafka.library import LOG, kafka_library, new_consumer
from pipeline.connectors.kafka.opening import first_contact
from pipeline.connectors.kafka.partitions import Handed, Place
from pipeline.connectors.kafka.tally import Tally
from pipeline.errors import InvalidInputError, StorageError
from pipeline.model.live_sources import LiveBatch, LiveHost

if TYPE_CHECKING:
    from pipeline.connectors.kafka.options import KafkaOptions

__all__ = ["KafkaSource"]

_FIRST_CHUNK: Final = 200
_LAG_S: Final = 2.0
"""Seconds between looks at the lag."""


class KafkaSource:
    """Messages of Kafka topics as rows, each exactly once.

    The offsets of the messages are the positions of the batches, and stored in the commit of
    their rows. A partition begins where the archive says, whoever read it before.

    Parameters
    ----------
    options
        The declaration.

    Raises
    ------
    MissingDependencyError
        If confluent-kafka is not installed, or the library of the payload format.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._library = kafka_library()
        self._options = options
        self._decoder = options.payload.decoder()
        self._tally = Tally()
        self._consumer: Any = None
        self._group: Group | None = None
        self._connection_errors: deque[Any] = deque(maxlen=100)
        self._acknowledged: dict[Place, tuple[int, int]] = {}
        self._told = (0, 0)
        self._next_commit = self._next_lag = 0.0

    @property
    def name(self) -> str:
        """Under which positions, counters and quarantined rows are known."""
        return self._options.source_name

    @property
    def replays(self) -> bool:
        """Whether it can be read again from positions: yes."""
        return True

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of the tables."""
        return self._decoder.arrow_schema()

    def start(self, host: LiveHost) -> None:
        """Reach a broker, and join the group.

        Parameters
        ----------
        host
            Tells where to begin.

        Raises
        ------
        InvalidInputError
            If a setting is wrong, credentials or certificates are refused, no broker answers
            within ``connect_timeout_s``, or a topic is not there or must not be read.
        """
        consumer = new_consumer(self._options, self._on_error, self._on_commit)
        try:
            counts = first_contact(consumer, self._options, self._connection_errors, time.monotonic)
        except BaseException:
            consumer.close()
            raise
        self._tally.connected = 1
        self._consumer = consumer
        self._group = Group(consumer, self._options, host, self._tally, counts)
        self._group.subscribe()

    def poll(self, timeout: float) -> LiveBatch | None:
        """Return what came, or None if nothing did for `timeout` seconds.

        Parameters
        ----------
        timeout
            Seconds. Has to be called at least every ``max.poll.interval.ms`` (5 minutes), paused
            or not: else the group takes the partitions for abandoned.

        Raises
        ------
        InvalidInputError
            If the broker refuses the group, or messages at a position are gone and
            ``out_of_range`` is ``"error"``.
        StorageError
            If the library cannot go on.
        """
        group = self._started()
        deadline = time.monotonic() + timeout
        while True:
            wait = max(deadline - time.monotonic(), 0.0)
            self._collect(group, min(wait, _LAG_S))
            self._keep_house(group)
            if group.partitions.has_news():
                return self._batch(group)
            if time.monotonic() >= deadline:
                return None

    def acknowledge(self, token: Any) -> None:
        """Take note that the batch with this token, and all before it, is safe."""
        handed: Handed = token
        self._acknowledged |= handed.ends

    def pause(self) -> None:
        """Have the broker send no more, for a while. `poll` still has to be called."""
        self._started().pause()

    def resume(self) -> None:
        """Go on after a `pause`."""
        self._started().resume()

    def counters(self) -> Mapping[str, int | float | str]:
        """Return what the source has done so far, see `Tally`; may be called from any thread.

        ``lag`` counts messages at the broker that are not handed over yet.
        """
        return self._tally.told()

    def stop(self) -> None:
        """Leave the group. What was not acknowledged comes again."""
        if self._consumer is None or self._group is None:
            return
        self._group.commit(_offsets(self._acknowledged))
        self._group.leave()
        self._consumer = self._group = None
        self._tally.connected = self._tally.partitions = 0

    def _started(self) -> Group:
        if self._group is None:
            msg = f"Kafka source {self.name!r} is not started; call start(host) first"
            raise InvalidInputError(msg)
        return self._group

    def _collect(self, group: Group, timeout: float) -> None:
        """Buffer messages: as many as make a batch, or as are there or come in a short while."""
        limits, tally = self._options.limits, self._tally
        messages, size = tally.messages, tally.bytes
        wanted = 1
        while wanted > 0 and self._consume(group, wanted, timeout) == wanted:
            count, held = tally.messages - messages, tally.bytes - size
            if wanted == 1:
                deadline = time.monotonic() + limits.linger_s
            timeout = max(deadline - time.monotonic(), 0.0)
            # How many there is room for in bytes is known from those that came; the first few
            # tell little.
            room = (limits.batch_bytes - held) * max(count, 1) // max(held, 1)
            wanted = min(limits.batch_messages - count, room, count * 50 + _FIRST_CHUNK)

    def _consume(self, group: Group, most: int, timeout: float) -> int:
        found, troubles = group.consume(most, timeout)
        for trouble in troubles:
            self._face(group, trouble)
        group.mend()
        return found

    def _face(self, group: Group, trouble: Any) -> None:
        error, codes = trouble.error(), self._library.KafkaError
        if error.code() == codes._AUTO_OFFSET_RESET:
            group.out_of_range((trouble.topic(), trouble.partition()))
            return
        self._tally.failed(error)
        LOG.warning("Kafka source %r: %s", self.name, error)
        if error.fatal():
            msg = f"Kafka source {self.name!r} cannot go on, start it anew: {error}"
            raise StorageError(msg)
        if error.code() in (codes.GROUP_AUTHORIZATION_FAILED, codes.INCONSISTENT_GROUP_PROTOCOL):
            group_id = self._options.group_id
            msg = f"Kafka source {self.name!r}: group {group_id!r} is refused: {error}"
            raise InvalidInputError(msg)

    def _batch(self, group: Group) -> LiveBatch:
        messages, positions, expects, token = group.partitions.take()
        decoded = self._decoder.decode(messages)
        tally, told = self._tally, self._told
        self._told = (tally.messages, tally.bytes)
        tally.rows += decoded.table.num_rows
        tally.merged += decoded.merged
        tally.ignored += decoded.ignored
        tally.rejected += decoded.rejected
        return LiveBatch(
            decoded.table,
            decoded.quarantine(self.name),
            decoded.tags,
            messages=tally.messages - told[0],
            bytes=tally.bytes - told[1],
            positions=positions,
            expects=expects,
            token=token,
        )

    def _keep_house(self, group: Group) -> None:
        now = time.monotonic()
        if now >= self._next_commit:
            self._next_commit = now + self._options.commit_interval_s
            group.partitions.tell_moves()
            if self._acknowledged:
                ends, self._acknowledged = self._acknowledged, {}
                group.commit(_offsets(ends))
                group.compare(Handed(ends))
        if now >= self._next_lag:
            self._next_lag = now + _LAG_S
            group.look_at_lag()
        group.mend()

    def _on_commit(self, error: Any, _: Any) -> None:
        if error is not None:
            self._tally.offset_commit_failures += 1
            self._tally.failed(error)

    def _on_error(self, error: Any) -> None:
        """Note an error of a connection; is called while the library is polled."""
        self._tally.failed(error)
        self._connection_errors.append(error)
        if error.code() == self._library.KafkaError._ALL_BROKERS_DOWN:
            self._tally.connection_losses += self._tally.connected
            self._tally.connected = 0


def _offsets(ends: Mapping[Place, tuple[int, int]]) -> dict[Place, int]:
    return {place: end for place, (end, _) in ends.items()}
