"""What engines ask of rows, in words of our own: the part of it that can be looked up.

A filter here is a condition that every wanted row satisfies. It may let other rows through, too,
for whoever asked filters once more; so whatever is not understood is `UNKNOWN`, and rules out none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

__all__ = [
    "MIRRORED",
    "UNKNOWN",
    "Compare",
    "Every",
    "Filter",
    "Literal",
    "Missing",
    "Moment",
    "OneOf",
    "Present",
    "Some",
    "Unknown",
    "every",
    "some",
]


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in microseconds since 1970-01-01 UTC, which may lie between two of them."""

    microseconds: Decimal


type Literal = bool | int | float | str | Moment


@dataclass(frozen=True, slots=True)
class Unknown:
    """A condition that is not understood."""


@dataclass(frozen=True, slots=True)
class Compare:
    """A column's value compares with another one in a given way, or may do so.

    Parameters
    ----------
    column
        Its name.
    operator
        One of `pipeline.partitioning.intervals.OPERATORS`.
    value
        What it is compared with.
    nan
        Whether NaN is let through, too.
    """

    column: str
    operator: str
    value: Literal
    nan: bool = False


@dataclass(frozen=True, slots=True)
class OneOf:
    """A column's value is one of several; missing values and NaN are let through if `missing`."""

    column: str
    values: tuple[Literal, ...]
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """A column has no value, or NaN."""

    column: str


@dataclass(frozen=True, slots=True)
class Present:
    """A column has a value, or NaN."""

    column: str


@dataclass(frozen=True, slots=True)
class Every:
    """All of several conditions hold."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of several conditions holds."""

    parts: tuple[Filter, ...]


type Filter = Unknown | Compare | OneOf | Missing | Present | Every | Some

UNKNOWN: Final = Unknown()
"""What rules out no row."""

MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
"""The operator that says the same with both sides exchanged."""


def every(parts: Iterable[Filter]) -> Filter:
    """Return that all conditions hold, as one flat list: engines nest them hundreds deep."""
    flat: list[Filter] = []
    for part in parts:
        flat += part.parts if isinstance(part, Every) else () if part == UNKNOWN else (part,)
    return flat[0] if len(flat) == 1 else Every(tuple(flat)) if flat else UNKNOWN


def some(parts: Iterable[Filter]) -> Filter:
    """Return that at least one condition holds, as one flat list."""
    flat: list[Filter] = []
    for part in parts:
        flat += part.parts if isinstance(part, Some) else (part,)
    return flat[0] if len(flat) == 1 else UNKNOWN if UNKNOWN in flat else Some(tuple(flat))
