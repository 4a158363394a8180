"""How a dictionary's own entries become numbers, and what they will take."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.arithmetic import Decimal
from pipeline.codecs.mappings import (
    MAX_EXPONENT,
    Distinct,
    Mapped,
    Mapping,
    find_exponents,
    map_decimal,
    map_image,
)

__all__ = ["best_way", "entry_bits", "entry_ways", "map_entries"]

_MOST_MISFITS: Final = 0.5
_MISFIT_BITS: Final = 40.0
_GAP_BITS: Final = 2.0  # of a distance between entries beyond the usual one's bits


def entry_ways(dtype: np.dtype[Any], mappings: Iterable[Mapping]) -> list[Mapping]:
    """Return ways to map entries of `dtype`.

    They are the images, the `mappings` of the column, and the decimals of the longest entry.
    """
    ways: list[Mapping] = [map_image]
    ways += [
        partial(mapping, most=_MOST_MISFITS) for mapping in mappings if isinstance(mapping, partial)
    ]
    return [*ways, _map_longest] if dtype.kind == "f" else ways


def map_entries(entries: NDArray[Any], first: Mapping, ways: list[Mapping]) -> Mapped:
    """Map a dictionary's own entries in the first way, or the best if some do not fit that."""
    mapped = first(entries)
    return mapped if mapped is not None and not mapped.misfits.size else best_way(entries, ways)[1]


def best_way(entries: NDArray[Any], ways: list[Mapping]) -> tuple[Mapping, Mapped]:
    """Return the way of mapping entries that takes least, and its result."""
    tried = ((way, way(entries)) for way in ways)
    found = [(way, mapped) for way, mapped in tried if mapped is not None]
    way, mapped = min(found, key=lambda one: _spread_bits(one[1]))
    kind = mapped.transform
    if way is _map_longest and isinstance(kind, Decimal):
        way = partial(map_decimal, exponent=kind.exponent, single=kind.single, most=_MOST_MISFITS)
    return way, mapped


def _map_longest(entries: NDArray[Any]) -> Mapped | None:
    """Map entries to the decimals that the longest of them needs."""
    counts = find_exponents(entries, False)[1][: MAX_EXPONENT + 1]
    longest = int(np.flatnonzero(counts)[-1]) if counts.any() else 0
    return map_decimal(entries, longest, single=False, most=_MOST_MISFITS)


def _spread_bits(mapped: Mapped) -> float:
    """Return roughly what an ascending list takes: its usual distance, and its misfits."""
    low, high = mapped.extent()
    misfits = mapped.misfits.size + (2 if mapped.misfits.size else 0)  # a mask is long as well
    each = _MISFIT_BITS * misfits / mapped.numbers.size
    return math.log2((high - low) / mapped.numbers.size + 1.0) + each


def entry_bits(distinct: Distinct, base: Mapped, rows: int) -> float:
    """Estimate what a dictionary adds to its codes, in bits a row of the whole column.

    Rows beyond the sample hold more distinct values: those seen once stand for
    ``sqrt(rows / seen)`` times as many. Those between the numbers of neighbouring rows make
    their difference longer.

    References
    ----------
    M. Charikar et al., "Towards estimation error guarantees for distinct values", PODS 2000.
    """
    places = distinct.places
    once = np.cumsum(np.bincount(places) == 1)
    unseen = (rows / places.size) ** 0.5 - 1.0
    growth = 1.0 + unseen * float(once[-1]) / once.size
    each = max(1.0, _spread_bits(base) + _GAP_BITS - math.log2(growth))
    entries = float(each * growth * once.size / rows)
    if not unseen or not once[-1]:
        return entries
    steps = np.maximum(np.abs(np.diff(places)), 1)
    longer = 1.0 + unseen * np.abs(np.diff(once[places])) / steps
    return float(np.log2(longer).sum()) / places.size + entries
