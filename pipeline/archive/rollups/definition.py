"""What a rollup is: its periods, the statistics of its channels, and how it lies in chunks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.archive.rollups.periods import Period
from pipeline.archive.rollups.sketch_kinds import sketch_kind
from pipeline.errors import InvalidInputError
from pipeline.schema.channels import Channel, Schema
from pipeline.summaries.asked import Statistic, check_statistics, parse_statistics

__all__ = [
    "ALL_STATISTICS",
    "DEVICES_PER_RUN",
    "ROLLUP_VERSION",
    "SKETCHES",
    "RollupDefinition",
    "chunk_shape",
    "define_rollup",
    "plain_name",
    "provided",
    "required",
]

ROLLUP_VERSION: Final = 1
"""Version of what a rollup's group holds."""

ALL_STATISTICS: Final = ("count", "min", "max", "mean", "std", "first", "last")
"""What is kept of channels about which nothing is said, of these what a channel has."""

DEVICES_PER_RUN: Final = 256
"""Devices that are refreshed together; no chunk holds those of two runs."""

SKETCHES: Final = ("sketch", "kll")
"""Quantile sketches that a rollup may keep of a channel of numbers: with a relative error
(`pipeline.summaries.quantile_sketch`), or with one of rank (Apache DataSketches)."""

_MINUTE: Final = 60_000_000
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
# Periods shorter than the first lie in chunks of so much time. A chunk of hours is read and decoded
# in about a millisecond for each statistic and holds a quarter; a device's year is four of them, and
# an append rewrites one for each run of devices.
_SPANS: Final = (
    (_MINUTE, _DAY),
    (10 * _MINUTE, 7 * _DAY),
    (_HOUR, 31 * _DAY),
    (_DAY, 92 * _DAY),
    (28 * _DAY, 366 * _DAY),
)
_LONGEST_SPAN: Final = 20 * 366 * _DAY
_CELLS: Final = 1 << 17
_MOST_PERIODS: Final = 1 << 16
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_REFUSED: Final = ("histogram", "time_in_state", "increase", "rate")
_WIDE: Final = ("int64", "uint64")


@dataclass(frozen=True, slots=True)
class RollupDefinition:
    """A rollup as its group's attributes tell.

    Parameters
    ----------
    name
        The rollup's name.
    period
        Length of its periods.
    statistics
        By channel, the statistics that were asked for.
    origin
        Number of the period at position 0 of the time axis.
    revision
        Changes whenever cells change otherwise than by a refresh.
    incomplete
        Half-open time ranges, ascending and apart, in microseconds since 1970-01-01 UTC, whose rows
        were dropped before they were all counted.
    """

    name: str
    period: Period
    statistics: Mapping[str, tuple[Statistic, ...]]
    origin: int = 0
    revision: int = 0
    incomplete: tuple[tuple[int, int], ...] = field(default=())

    def stored(self, channel: str) -> tuple[Statistic, ...]:
        """Return what is stored of a channel: what was asked for, and what merging needs."""
        asked = self.statistics[channel]
        kinds = {statistic.kind for statistic in asked}
        also = ["count"]
        if kinds & {"std", "var"}:
            also.append("mean")
        extra = [Statistic.parse(one) for one in also if one not in kinds]
        return (*extra, *asked)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "version": ROLLUP_VERSION,
            "period": self.period.text,
            "statistics": {
                channel: [statistic.label for statistic in statistics]
                for channel, statistics in self.statistics.items()
            },
            "origin": self.origin,
            "revision": self.revision,
            "incomplete": [list(one) for one in self.incomplete],
        }

    @classmethod
    def from_json(cls, name: str, data: Mapping[str, Any]) -> RollupDefinition:
        """Read what `to_json` wrote.

        Raises
        ------
        InvalidInputError
            If it is of a later version.
        """
        if data["version"] > ROLLUP_VERSION:
            msg = f"rollup {name!r} has version {data['version']}, this release reads up to {ROLLUP_VERSION}; upgrade iot-archive"
            raise InvalidInputError(msg)
        statistics = {
            channel: _parsed(labels, channel) for channel, labels in data["statistics"].items()
        }
        return cls(
            name,
            Period.parse(data["period"]),
            statistics,
            data["origin"],
            data["revision"],
            tuple((start, stop) for start, stop in data["incomplete"]),
        )


def define_rollup(
    name: str, every: Any, statistics: Mapping[str, Any] | None, schema: Schema
) -> RollupDefinition:
    """Return the definition of a new rollup.

    Parameters
    ----------
    name
        Letters, digits, ``_``, ``-`` and ``.``; spaces are left out.
    every
        Length of the periods, see `pipeline.archive.rollups.periods.Period.parse`; by default what
        the name says.
    statistics
        By channel, a statistic or several; by default all of `ALL_STATISTICS` that each has.
    schema
        Of the fleet.

    Raises
    ------
    InvalidInputError
        If a name, period or statistic makes no sense.
    NotFoundError
        If a channel does not exist.
    MissingDependencyError
        If the library of a sketch is not installed.
    """
    plain = plain_name(name)
    if not _NAME.fullmatch(plain):
        msg = (
            f"rollup name {name!r}: use letters, digits, '_', '-' and '.', a letter or digit first"
        )
        raise InvalidInputError(msg)
    period = Period.parse(name if every is None else every)
    if statistics is None:
        return RollupDefinition(plain, period, {one.name: _defaults(one) for one in schema})
    if not statistics:
        msg = "statistics={} leaves nothing to keep; name channels, or None for all"
        raise InvalidInputError(msg)
    wanted = {channel: _checked(schema[channel], asked) for channel, asked in statistics.items()}
    return RollupDefinition(plain, period, wanted)


def plain_name(name: str) -> str:
    """Return the name that a rollup is stored under: ``1day`` for ``1 day``."""
    return name.replace(" ", "")


def _defaults(channel: Channel) -> tuple[Statistic, ...]:
    every = (Statistic.parse(name) for name in ALL_STATISTICS)
    return tuple(statistic for statistic in every if statistic.suits(channel.dtype))


def _parsed(asked: Any, channel: str) -> tuple[Statistic, ...]:
    given = [asked] if isinstance(asked, str | Statistic) else list(asked)
    sketches = tuple(Statistic(name, name) for name in SKETCHES if name in given)
    rest = [one for one in given if one not in SKETCHES]
    return (*parse_statistics(rest, channel), *sketches)


def _checked(channel: Channel, asked: Any) -> tuple[Statistic, ...]:
    wanted = _parsed(asked, channel.name)
    plain = [statistic for statistic in wanted if statistic.kind not in SKETCHES]
    check_statistics(plain, channel.name, channel.dtype, merged=False)
    if len(plain) < len(wanted) and channel.dtype in ("bool", "category"):
        msg = (
            f"channel {channel.name!r} holds no numbers, of which alone there are quantile sketches"
        )
        raise InvalidInputError(msg)
    for statistic in wanted[len(plain) :]:
        sketch_kind(statistic.kind)  # its library has to be there
    for statistic in plain:
        if statistic.kind in _REFUSED or statistic.kind.startswith("time_weighted"):
            msg = (
                f"channel {channel.name!r}: a rollup does not keep {statistic.label}, which has parts or "
                "depends on readings of other periods; ask aggregate() for it"
            )
            raise InvalidInputError(msg)
    return wanted


def chunk_shape(period: Period) -> tuple[int, int]:
    """Return devices and periods of a chunk."""
    spans = (span for longest, span in _SPANS if period.typical < longest)
    span = next(spans, _LONGEST_SPAN)
    periods = max(1, min(span // period.typical, _MOST_PERIODS))
    devices = 1 << max((_CELLS // periods).bit_length() - 1, 0)
    return min(devices, DEVICES_PER_RUN), periods


def required(statistic: Statistic, dtype: str) -> frozenset[str]:
    """Return what of mergeable states a statistic of a channel is made of; ``rows`` if none will do.

    Parameters
    ----------
    statistic
        The statistic.
    dtype
        Of the channel. Sums of integers of up to 32 bits are exact: ``exact``.
    """
    if statistic.kind in SKETCHES:
        return frozenset({statistic.kind})
    if not statistic.is_stored:
        return frozenset({"rows"})
    if statistic.kind == "sum":
        return frozenset({"exact" if has_exact_sum(dtype) else "total"})
    return _REQUIRED[statistic.kind]


def provided(statistics: Sequence[Statistic], dtype: str) -> frozenset[str]:
    """Return what of mergeable states stored statistics tell."""
    kinds = {statistic.kind for statistic in statistics}
    found = kinds & {"min", "max", "first", "last", *SKETCHES}
    if "sum" in kinds:
        found.add("total")
        if has_exact_sum(dtype):
            found.add("exact")
    if "mean" in kinds:
        found.add("total")
        if kinds & {"std", "var"}:
            found.add("m2")
    return frozenset(found)


def has_exact_sum(dtype: str) -> bool:
    """Tell whether sums of a channel are kept as ``int64``, which those of 32 bits never leave."""
    return not dtype.startswith("float") and dtype not in _WIDE


_REQUIRED: Final[Mapping[str, frozenset[str]]] = {
    "count": frozenset(),
    "missing": frozenset(),
    "min": frozenset({"min"}),
    "max": frozenset({"max"}),
    "range": frozenset({"min", "max"}),
    "first": frozenset({"first"}),
    "last": frozenset({"last"}),
    "delta": frozenset({"first", "last"}),
    "mean": frozenset({"total"}),
    "std": frozenset({"total", "m2"}),
    "var": frozenset({"total", "m2"}),
}
