"""Where to begin with a partition: what the archive says, and what the broker has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pipeline.connectors.kafka.library import kafka_library
from pipeline.connectors.kafka.partitions import Place, archived_offset

if TYPE_CHECKING:
    from pipeline.connectors.kafka.options import KafkaOptions

__all__ = ["Placing"]

_QUERY_S: Final = 10.0
"""How long a question to the broker may take; it is asked again later if it takes longer."""


class Placing:
    """Finds the offsets at which partitions begin.

    Parameters
    ----------
    consumer
        Of the library.
    options
        The declaration.
    partitions
        How many partitions each topic had when the source started: those with higher numbers
        were added since, and nothing of them may be missed.
    """

    def __init__(self, consumer: Any, options: KafkaOptions, partitions: Mapping[str, int]) -> None:
        self._library = kafka_library()
        self._consumer = consumer
        self._options = options
        self._at_start = partitions

    def begins(
        self, places: Iterable[Place], known: Mapping[str, Any]
    ) -> dict[Place, tuple[int, bool]]:
        """Return the first offset of each partition, and whether the archive knows it.

        Parameters
        ----------
        places
            Topics and partitions.
        known
            Positions of the archive.

        Raises
        ------
        confluent_kafka.KafkaException
            If the broker does not answer.
        """
        found = {}
        for place in places:
            offset = archived_offset(known, place)
            found[place] = (self._begin(place), False) if offset is None else (offset, True)
        return found

    def bounds(self, place: Place, timeout: float | None = _QUERY_S) -> tuple[int, int]:
        """Return the first offset that is there, and the one after the last.

        Parameters
        ----------
        place
            Topic and partition.
        timeout
            Seconds in which the broker has to answer; None for what it told with the last
            messages, negative if there were none.

        Raises
        ------
        confluent_kafka.KafkaException
            If the broker does not answer.
        """
        asked = self._library.TopicPartition(*place)
        if timeout is None:
            told: tuple[int, int] = self._consumer.get_watermark_offsets(asked, cached=True)
            return told
        bounds = self._consumer.get_watermark_offsets(asked, timeout=timeout)
        if bounds is None:
            code = self._library.KafkaError._TIMED_OUT
            raise self._library.KafkaException(self._library.KafkaError(code))
        low, high = bounds
        return low, high

    def _begin(self, place: Place) -> int:
        low, high = self.bounds(place)
        topic, number = place
        if self._options.start == "earliest" or number >= self._at_start.get(topic, number + 1):
            return low
        since = self._options.start_ms
        if since is None:
            return high
        asked = self._library.TopicPartition(topic, number, since)
        told = self._consumer.offsets_for_times([asked], timeout=_QUERY_S)[0]
        if told.error is not None:
            raise self._library.KafkaException(told.error)
        # Nothing so late: what comes after the question counts, so the end of before it does.
        return high if told.offset < 0 else int(told.offset)
