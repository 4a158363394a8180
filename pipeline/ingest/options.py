"""The options of a stream, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Self

from pipeline.errors import InvalidInputError
from pipeline.ingest.backoff import Backoff
from pipeline.ingest.policies import (
    DEFAULT_FUTURE,
    Backpressure,
    Durability,
    Flush,
    Limit,
)
from pipeline.model.choices import choice
from pipeline.model.durations import parse_duration

__all__ = ["StreamOptions"]

_COMPACT_EVERY: Final = 64


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a stream works.

    Parameters
    ----------
    durability
        What a write waits for.
    flush
        When rows go to the archive.
    max_bytes, when_full
        Bytes that may be held in memory before they are in the archive, and what a write does then.
    disorder
        Microseconds by which the rows of a device may be out of order without being late.
    late, future
        Limits for late rows and for rows ahead of their receipt.
    backoff
        How to wait after failed commits, and for how long.
    compact_every
        Commits after which blocks are merged in the background; 0 for never.
    """

    durability: Durability = Durability.LOG
    flush: Flush = field(default_factory=Flush)
    max_bytes: int = 128 << 20
    when_full: Backpressure = Backpressure.WAIT
    disorder: int = 60_000_000
    late: Limit = field(default_factory=Limit)
    future: Limit = DEFAULT_FUTURE
    backoff: Backoff = field(default_factory=Backoff)
    compact_every: int = _COMPACT_EVERY

    @classmethod
    def parse(
        cls,
        *,
        logged: bool,
        durability: Any = "log",
        flush: Any = None,
        max_bytes: int = 128 << 20,
        when_full: Any = "wait",
        disorder: Any = "1 min",
        late: Any = "accept",
        future: Any = DEFAULT_FUTURE,
        patience: Any = "10 min",
        compact: bool = True,
    ) -> Self:
        """Read options as users write them; see `pipeline.Fleet.stream`.

        Parameters
        ----------
        logged
            Whether there is a folder for a log.

        Raises
        ------
        InvalidInputError
            If one makes no sense, or needs a log and there is none.
        """
        kind, full = (
            choice(Durability, durability, "durability="),
            choice(Backpressure, when_full, "when_full="),
        )
        for needs, name in (
            (kind is Durability.LOG, "durability='log'"),
            (full is Backpressure.SPILL, "when_full='spill'"),
        ):
            if needs and not logged:
                msg = f"{name} needs a folder for the log: fleet.stream('data/stream-log', ...)"
                raise InvalidInputError(msg)
        if max_bytes < 1:
            msg = f"max_bytes is {max_bytes}; use 1 or more"
            raise InvalidInputError(msg)
        return cls(
            kind,
            Flush.parse(flush),
            max_bytes,
            full,
            0 if disorder == 0 else parse_duration(disorder),
            Limit.parse(late, "late"),
            Limit.parse(future, "future"),
            Backoff(patience=parse_duration(patience)),
            _COMPACT_EVERY if compact else 0,
        )
