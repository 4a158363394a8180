"""What a user may ask of a channel: names of statistics, checked and taken apart.

A name is a plain word (``mean``), a percentile (``median``, ``p95``, ``p99.9``) or a word with
numbers in brackets (``histogram(0, 10, 20)``). Where an answer comes from is a property of the
statistic: stored summaries and block headers hold what merges from small states; the others
depend on every row or on the way from one reading to the next, and rows are decoded for them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

import numpy as np

from pipeline.errors import InvalidInputError

__all__ = ["STATISTIC_NAMES", "Statistic", "check_statistics", "histogram", "parse_statistics"]

_NUMBER: Final = "number"
_BOOL: Final = "bool"
_CATEGORY: Final = "category"
_ALL: Final = (_NUMBER, _BOOL, _CATEGORY)
_COUNTABLE: Final = (_NUMBER, _BOOL)


@dataclass(frozen=True, slots=True)
class _Traits:
    """Where a statistic comes from, what channels have it, and what it depends on.

    Devices merge in it, or do not; it follows a device from each reading to the next, or not.
    """

    stored: bool
    kinds: tuple[str, ...]
    merges: bool = True
    follows: bool = False


_TRAITS: Final[Mapping[str, _Traits]] = {
    "count": _Traits(True, _ALL),
    "min": _Traits(True, _COUNTABLE),
    "max": _Traits(True, _COUNTABLE),
    "sum": _Traits(True, _COUNTABLE),
    "mean": _Traits(True, _COUNTABLE),
    "std": _Traits(True, _COUNTABLE),
    "var": _Traits(True, _COUNTABLE),
    "first": _Traits(True, _ALL, merges=False),
    "last": _Traits(True, _ALL, merges=False),
    "missing": _Traits(True, _ALL),
    "range": _Traits(True, (_NUMBER,)),
    "delta": _Traits(True, (_NUMBER,), merges=False),
    "median": _Traits(False, (_NUMBER,)),
    "percentile": _Traits(False, (_NUMBER,)),
    "distinct": _Traits(False, _ALL),
    "histogram": _Traits(False, (_NUMBER,)),
    "increase": _Traits(False, (_NUMBER,), follows=True),
    "rate": _Traits(False, (_NUMBER,), merges=False, follows=True),
    "time_weighted_mean": _Traits(False, (_NUMBER,), follows=True),
    "time_weighted_mean_previous": _Traits(False, _COUNTABLE, follows=True),
    "time_in_state": _Traits(False, (_BOOL, _CATEGORY), follows=True),
}

STATISTIC_NAMES: Final = (
    *(name for name in _TRAITS if name not in ("percentile", "histogram")),
    "p<percent> (p95, p99.9)",
    "histogram(<edges>)",
)
"""What may be asked for, as told to users."""

_PERCENTILE: Final = re.compile(r"p(\d+(?:\.\d+)?)")
_HISTOGRAM: Final = re.compile(r"histogram\s*\((.*)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic of a channel.

    Parameters
    ----------
    label
        What the variable of the answer is called after the channel, such as ``p95``.
    kind
        Its key in the table of statistics, such as ``percentile``.
    quantile
        Of a percentile or median: 0 to 1.
    edges
        Of a histogram: ascending, finite, at least two.
    """

    label: str
    kind: str
    quantile: float | None = None
    edges: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Statistic:
        """Return the statistic that a text names.

        Raises
        ------
        InvalidInputError
            If there is none of that name, or its numbers make no sense.

        Examples
        --------
        >>> Statistic.parse("p99.9").quantile
        0.999
        """
        name = text.strip()
        if name == "median":
            return cls(name, name, 0.5)
        if name in _TRAITS and name not in ("percentile", "histogram"):
            return cls(name, name)
        found = _PERCENTILE.fullmatch(name)
        if found is not None and float(found[1]) <= 100:
            return cls(name, "percentile", float(Decimal(found[1]) / 100))
        bracketed = _HISTOGRAM.fullmatch(name)
        if bracketed is not None:
            return histogram(_numbers(bracketed[1], text))
        msg = f"unknown statistic {text!r}; use one of {', '.join(STATISTIC_NAMES)}"
        raise InvalidInputError(msg)

    @property
    def is_stored(self) -> bool:
        """Whether summaries and block headers answer it; otherwise rows are decoded."""
        return _TRAITS[self.kind].stored

    @property
    def merges_devices(self) -> bool:
        """Whether several devices have it together."""
        return _TRAITS[self.kind].merges

    @property
    def follows(self) -> bool:
        """Whether it depends on the way from one reading of a device to the next."""
        return _TRAITS[self.kind].follows

    def suits(self, dtype: str) -> bool:
        """Tell whether channels of a dtype (`pipeline.model.dtypes.CHANNEL_DTYPES`) have it."""
        return _kind_of(dtype) in _TRAITS[self.kind].kinds


def histogram(edges: Iterable[float]) -> Statistic:
    """Return the histogram over given edges.

    Parameters
    ----------
    edges
        Ascending and finite, in the channel's units. Buckets are half-open ``[low, high)``, the
        last one closed; values outside are not counted.

    Raises
    ------
    InvalidInputError
        If the edges are fewer than two, not finite, or not ascending.
    """
    plain = tuple(float(edge) for edge in edges)
    ascending = all(low < high for low, high in pairwise(plain))
    if len(plain) < 2 or not ascending or not all(map(math.isfinite, plain)):
        msg = f"histogram edges {list(plain)}; give two or more finite numbers, ascending"
        raise InvalidInputError(msg)
    return Statistic("histogram", "histogram", edges=plain)


def parse_statistics(
    names: str | Statistic | Sequence[str | Statistic], channel: str
) -> tuple[Statistic, ...]:
    """Return what is asked of one channel, each once, in the order asked for.

    Raises
    ------
    InvalidInputError
        If a name is unknown, or two different statistics would have one name.
    """
    given = (names,) if isinstance(names, str | Statistic) else tuple(names)
    wanted: dict[str, Statistic] = {}
    for name in given:
        try:
            statistic = name if isinstance(name, Statistic) else Statistic.parse(name)
        except InvalidInputError as error:
            msg = f"channel {channel!r}: {error}"
            raise InvalidInputError(msg) from error
        if wanted.setdefault(statistic.label, statistic) != statistic:
            msg = f"channel {channel!r}: two different {statistic.label}s; ask for one at a time"
            raise InvalidInputError(msg)
    return tuple(wanted.values())


def check_statistics(
    wanted: Sequence[Statistic], channel: str, dtype: str, *, merged: bool
) -> None:
    """Check that a channel has what is asked of it.

    Parameters
    ----------
    wanted
        Statistics of the channel.
    channel, dtype
        Its name and dtype.
    merged
        Whether devices are merged (``by=``).

    Raises
    ------
    InvalidInputError
        If a statistic makes no sense for the dtype, or not for several devices together.
    """
    for statistic in wanted:
        if not statistic.suits(dtype):
            kind = _kind_of(dtype)
            has = [name for name, traits in _TRAITS.items() if kind in traits.kinds]
            held = {"number": "numbers", "bool": "bools", "category": "categories"}[kind]
            msg = f"channel {channel!r} holds {held}, which have {', '.join(has)}, but no {statistic.label}"
            raise InvalidInputError(msg)
        if merged and not statistic.merges_devices:
            msg = f"{statistic.label!r} is kept for each device on its own; leave out by="
            raise InvalidInputError(msg)


def _kind_of(dtype: str) -> str:
    return dtype if dtype in (_BOOL, _CATEGORY) else _NUMBER


def _numbers(text: str, whole: str) -> list[float]:
    try:
        return [float(np.float64(part)) for part in text.split(",")]
    except ValueError as error:
        msg = f"{whole!r}: edges are numbers separated by commas, as in histogram(0, 10, 20)"
        raise InvalidInputError(msg) from error
