"""Many sources and fleets in one process, none of which holds up the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

from pipeline.errors import ArchiveError, InvalidInputError
from pipeline.ingest.pump import Pump
from pipeline.ingest.session import StreamSession
from pipeline.model.live_sources import LiveSource

__all__ = ["Multiplexer"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Lane:
    """A stream and what flows into it."""

    session: StreamSession
    pumps: tuple[Pump, ...]


@dataclass(slots=True, eq=False)
class Multiplexer:
    """Draws from sources into streams until it is closed.

    Each source has a thread of its own, and each stream its own log, memory and commits. The
    sources of one stream share its memory in equal parts. A stream whose archive cannot be
    written, or a source that fails, stops alone; `failures` tells of it.

    Examples
    --------
    ::

        with Multiplexer() as lines:
            lines.add("rooms", rooms.stream("data/rooms-log"), [mqtt, kafka])
            lines.add("trucks", trucks.stream("data/trucks-log"), [other])
            ...
    """

    _lanes: dict[str, _Lane] = field(default_factory=dict)
    _closed: bool = False

    def add(self, name: str, session: StreamSession, sources: Sequence[LiveSource]) -> None:
        """Begin to draw from sources into a stream, which is closed with the multiplexer.

        Parameters
        ----------
        name
            Of the stream, such as its fleet's.
        session
            Where to.
        sources
            Where from; their names differ.

        Raises
        ------
        InvalidInputError
            If the name is taken, or two sources have the same one.
        """
        names = [source.name for source in sources]
        if name in self._lanes or len(set(names)) < len(names):
            msg = (
                f"stream {name!r} with sources {', '.join(names)}: there is one of that name already; "
                "give each a name of its own"
            )
            raise InvalidInputError(msg)
        share = max(1, session.max_bytes // max(1, len(sources)))
        lane = _Lane(session, tuple(Pump(source, session, share) for source in sources))
        self._lanes[name] = lane
        for pump in lane.pumps:
            pump.start()

    @property
    def failures(self) -> dict[str, BaseException]:
        """Why sources stopped, by ``stream/source``."""
        return {
            f"{name}/{pump.source.name}": pump.failure
            for name, lane in self._lanes.items()
            for pump in lane.pumps
            if pump.failure is not None
        }

    @property
    def is_alive(self) -> bool:
        """Whether any source is still drawn from."""
        return any(pump.is_alive() for lane in self._lanes.values() for pump in lane.pumps)

    def counters(self) -> dict[str, Any]:
        """Return what streams and sources have done so far, as plain JSON values, by stream."""
        return {
            name: {
                **lane.session.counters.to_json(),
                "sources": {
                    pump.source.name: {**pump.source.counters(), **asdict(pump.counters)}
                    for pump in lane.pumps
                },
            }
            for name, lane in self._lanes.items()
        }

    def close(self) -> None:
        """Draw no more, put everything that was taken into the archive, and close the streams.

        Raises
        ------
        ArchiveError
            If a stream could not be closed in order; the others are closed all the same.
        """
        if self._closed:
            return
        self._closed = True
        for lane in self._lanes.values():
            for pump in lane.pumps:
                pump.stop()
        if not self._lanes:
            return
        with ThreadPoolExecutor(len(self._lanes), thread_name_prefix="close") as pool:
            errors = list(pool.map(_closed, self._lanes.items()))
        for error in errors:
            if error is not None:
                raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except ArchiveError:
            if error is None:
                raise
            _log.exception("not all streams could be closed in order")


def _closed(named: tuple[str, _Lane]) -> ArchiveError | None:
    """Close one stream once its sources have let go; return why that failed."""
    name, lane = named
    for pump in lane.pumps:
        pump.join()
    try:
        lane.session.close()
    except ArchiveError as error:
        _log.exception("stream %s could not be closed in order", name)
        return error
    return None
