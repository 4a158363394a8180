"""What a stream does with time and with memory, as its user says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Self

from pipeline.errors import InvalidInputError
from pipeline.model.choices import choice
from pipeline.model.durations import parse_duration

__all__ = [
    "DEFAULT_FUTURE",
    "Backpressure",
    "Durability",
    "Flush",
    "Limit",
    "Otherwise",
]


class Durability(Enum):
    """What a write waits for, and what a receipt says."""

    NONE = "none"
    """Rows are in memory only: a crash loses them."""

    LOG = "log"
    """Rows are on the disk of this machine: they survive ``kill -9`` and power loss."""

    COMMIT = "commit"
    """Rows are in the archive, for every reader to see."""


class Backpressure(Enum):
    """What a write does when the stream holds as many bytes as it may."""

    WAIT = "wait"
    """It waits until there is room."""

    RAISE = "raise"
    """It raises `pipeline.errors.BufferFullError`; nothing of it is taken."""

    SPILL = "spill"
    """Its rows stay in the log only, and are read back when there is room."""


class Otherwise(Enum):
    """What becomes of rows whose time is beyond a limit."""

    QUARANTINE = "quarantine"
    """They go to quarantine, whole and with the reason."""

    RECEIVE_TIME = "receive_time"
    """They are stored under the time at which the stream got them."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How far off a row's time may be.

    Parameters
    ----------
    within
        Microseconds; None for no limit.
    otherwise
        What becomes of rows beyond.
    """

    within: int | None = None
    otherwise: Otherwise = Otherwise.QUARANTINE

    @classmethod
    def parse(cls, value: Any, name: str) -> Self:
        """Read ``"accept"``, a duration, or ``{"within": duration, "else": what}``.

        Raises
        ------
        InvalidInputError
            If `value` is none of these; `name` says what it was given for.
        """
        if isinstance(value, cls):
            return value
        if value == "accept":
            return cls()
        if not isinstance(value, Mapping):
            return cls(parse_duration(value))
        if not {"within"} <= set(value) <= {"within", "else"}:
            msg = f"{name}={dict(value)!r}; give 'accept', a duration, or {{'within': '1 h', 'else': 'quarantine'}}"
            raise InvalidInputError(msg)
        otherwise = choice(Otherwise, value.get("else", "quarantine"), f"{name}['else']=")
        return cls(parse_duration(value["within"]), otherwise)


@dataclass(frozen=True, slots=True)
class Flush:
    """When rows go to the archive: as soon as one of these is reached.

    Parameters
    ----------
    rows, bytes
        So many are held. A commit holds about as much at most.
    age
        Microseconds for which the oldest row has been held: how old answers may be that the
        archive gives to others.
    event_time
        Microseconds by which the times of rows have moved on since the last flush, so that an hour
        that replays within seconds is committed as an hour; None not to look at it.

    Raises
    ------
    InvalidInputError
        If a value is not positive.
    """

    rows: int = 1 << 20
    bytes: int = 32 << 20
    age: int = 2_000_000
    event_time: int | None = None

    def __post_init__(self) -> None:
        for name in ("rows", "bytes", "age"):
            if getattr(self, name) < 1:
                msg = f"flush {name} is {getattr(self, name)}; use 1 or more"
                raise InvalidInputError(msg)

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Read a mapping such as ``{"rows": 100_000, "age": "5 s"}``; None for the defaults.

        Raises
        ------
        InvalidInputError
            If a key is unknown or a value makes no sense.
        """
        if isinstance(value, cls):
            return value
        given = dict(value or {})
        unknown = sorted(set(given) - {"rows", "bytes", "age", "event_time"})
        if unknown:
            msg = f"flush has no {unknown[0]!r}; it has rows, bytes, age and event_time"
            raise InvalidInputError(msg)
        for name in ("age", "event_time"):
            if given.get(name) is not None:
                given[name] = parse_duration(given[name])
        return cls(**given)


DEFAULT_FUTURE: Final = Limit(86_400_000_000)
"""A day: a clock that is further ahead is wrong, and would make all its right rows late."""
