"""Which transform suits a column, judged from a few thousand of its rows.

Candidates are mapped on the sample and ranked by the bits a row will take: what the caller's
cost function says about the numbers, and about the corrections and the dictionary's entries.
The choice has no effect on what comes back, only on size and speed.

Floats are looked at in this order, because each test is cheaper and settles more columns than
the next:

1. Decimals of up to 17 digits. Where they fit all rows of the sample and take up to 9 digits
   (5 for floats that passed through float32), nothing that 3 finds ever won.
2. Fractions of whole numbers rounded to those decimals (averages, minutes of a position), and
   decimals with a fixed number of significant digits, if large values have fewer decimals.
3. Only without such decimals: decimals that rounding errors spoil; fractions, rounded to the
   significant digits or not at all; and without fractions a unit conversion or the multiples
   of any float, whichever leaves fewer misfits. Where none fits, the bits of the floats.
4. A dictionary, for any dtype, unless the numbers are dense enough already. Its entries are
   mapped like the column.

Up to 15 % of a few hundred values may contradict a candidate (8 % for a fraction, because the
coarsest always fits some), and twice that the whole column: what remains costs corrections,
which the ranking counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.arithmetic import DECIMALS, SIGNIFICANT, Arithmetic
from pipeline.codecs.entries import best_way, entry_bits, entry_ways, map_entries
from pipeline.codecs.grids import (
    count_misfits,
    find_computed,
    find_fraction,
    find_scale,
    printed_digits,
)
from pipeline.codecs.images import image
from pipeline.codecs.mappings import (
    MAX_ENTRIES,
    MAX_EXPONENT,
    Mapped,
    Mapping,
    find_exponents,
    list_distinct,
    map_arithmetic,
    map_decimal,
    map_dictionary,
    map_image,
    map_significant,
    pick_distinct,
)
from pipeline.codecs.sampling import sample
from pipeline.codecs.transforms import Significant

__all__ = ["Cost", "Remembered", "choose_transform", "recall_transform"]

_LOG: Final = logging.getLogger(__name__)

_RUN_ROWS: Final = 256
_FEW: Final = 512
_SINGLES: Final = 2.0**24  # from here, float32 has no fractions
_USES: Final = 32
_MORE_MISFITS, _FEWER_MISFITS = 0.005, 0.25
_SPARE: Final = 2  # times as many entries as there were
_DIGIT_BITS: Final = 3.32
_MISFIT_BITS: Final = 20.0  # position and correction of a row, on real columns
_LITTLE_BITS: Final = 0.3  # of misfits; no other way was better by as much
_FEW_BITS: Final = 1.0  # of corrections, which are not worth a closer look
_MOST_MISFITS: Final = 0.15
_SURE_DIGITS: Final = {False: 9, True: 5}  # by whether the values passed through float32
_REAL_DIGITS: Final = {4: 7, 8: 16}  # of a float; any float has more, rounded or not
_GAIN: Final = 0.985  # what codes save at least where a dictionary won with its entries
_FEW_ENTRIES: Final = 64  # take next to nothing
_LEAST_GAIN: Final = 0.3  # digits a row that significant digits must save

type Decimals = partial[Mapped | None]

type Cost = Callable[[NDArray[Any]], float]
"""Estimates bits per row of numbers, int64 or uint64, shape (runs, rows of a run)."""


@dataclass(frozen=True)
class Candidate:
    """A mapping that fits the sample.

    Attributes
    ----------
    mapping : callable
        Maps values to numbers, or returns None where it does not fit.
    mapped : Mapped
        What it made of the sample.
    bits : float
        Estimated bits per row of the column.
    """

    mapping: Mapping
    mapped: Mapped
    bits: float


@dataclass(frozen=True)
class Remembered:
    """What suited a block of a column.

    Attributes
    ----------
    mapping : callable
    share : float
        Share of misfits among the rows.
    considered : tuple
        Names of the transforms that were looked at, and the bits per row that they promised.
    entries : float
        Of a dictionary, a row; else 0.
    left : int
        Blocks for which it may still be taken without a look at others.
    """

    mapping: Callable[..., Mapped | None]
    share: float
    considered: tuple[tuple[str, float], ...] = ()
    entries: float = 0.0
    left: int = _USES

    def again(self, values: NDArray[Any]) -> Mapped | None:
        """Return another block mapped in the same way, None if it fits worse or much better there.

        The bits of floats suit any, but where there are decimals, these suit better.
        """
        if self.mapping is map_image and values.dtype.kind == "f":
            few = np.ascontiguousarray(values[:: max(1, values.size // _FEW)])
            if _decimals(few, find_exponents(few, False)[1]) is not None:
                return None
        mapping = self.mapping
        if self.entries:
            most = int(_SPARE * (self.entries * values.size + 1))
            mapping = partial(mapping, most=min(MAX_ENTRIES, most))
        mapped = mapping(values)
        if mapped is None:
            return None
        share = mapped.misfits.size / values.size
        alike = self.share * _FEWER_MISFITS - _MORE_MISFITS <= share <= self.share + _MORE_MISFITS
        return mapped if alike else None


def choose_transform(values: NDArray[Any], cost: Cost) -> Mapped:
    """Choose the transform of a column, and apply it.

    Parameters
    ----------
    values : ndarray, shape (rows,), at least one row
    cost : callable
        Estimates what numbers will take.
    """
    return recall_transform(values, cost)[0]


def recall_transform(
    values: NDArray[Any], cost: Cost, previous: Remembered | None = None, *, quick: bool = False
) -> tuple[Mapped, Remembered]:
    """Choose a transform as `choose_transform`, or take the previous block's where it still suits.

    It suits if the block has no more misfits than there were, within a row in 200, and not many
    more entries of a dictionary; after 32 blocks all is looked at again. Neighbouring blocks
    nearly always want the same, and even a look at a sample takes as long as mapping the block.

    Parameters
    ----------
    values : ndarray, shape (rows,), at least one row
    cost : callable
        Estimates what numbers will take.
    previous : Remembered, optional
        What the block before returned, of a column of the same dtype.
    quick : bool
        Look for decimals only.
    """
    if previous is not None and previous.left:
        again = previous.again(values)
        if again is not None:
            return again, replace(previous, left=previous.left - 1)
    runs = sample(values, _RUN_ROWS)
    mapped, found, ranked = _choose(values, runs, cost, quick)
    considered = tuple((str(way.mapped.transform), way.bits) for way in ranked)
    entries = len(getattr(mapped.transform, "entries", ())) / values.size
    share = max(_share(found), mapped.misfits.size / values.size)
    return mapped, Remembered(found.mapping, share, considered, entries)


def _share(found: Candidate) -> float:
    return found.mapped.misfits.size / found.mapped.numbers.size


def _apply(found: Candidate, values: NDArray[Any], runs: NDArray[Any]) -> Mapped | None:
    return found.mapped if values.size == runs.size else found.mapping(values)


def _choose(
    values: NDArray[Any], runs: NDArray[Any], cost: Cost, quick: bool
) -> tuple[Mapped, Candidate, list[Candidate]]:
    """Return the column mapped in the best way that fits all of it, that way, and all ways."""
    candidates = _plainest if quick else _candidates
    ranked = sorted(candidates(runs, values.size, cost), key=lambda found: found.bits)
    if _LOG.isEnabledFor(logging.DEBUG):
        ways = [(str(found.mapped.transform), round(found.bits, 2)) for found in ranked]
        _LOG.debug("%d rows of %s: %s", values.size, values.dtype, ways)
    for found in ranked:
        mapped = _apply(found, values, runs)
        if mapped is not None:
            return mapped, found, ranked
    plain = map_image(runs.reshape(-1))
    found = Candidate(map_image, plain, cost(plain.numbers.reshape(runs.shape)))
    return map_image(values), found, [*ranked, found]


def _plainest(runs: NDArray[Any], rows: int, cost: Cost) -> list[Candidate]:
    """Return decimals if they suit the sample, else the image."""
    flat = runs.reshape(-1)
    decimals = None
    if flat.dtype.kind == "f":
        few = np.ascontiguousarray(flat[:: max(1, flat.size // _FEW)])
        decimals = _decimals(few, find_exponents(few, False)[1])
    found = _try(decimals, runs, rows, cost) if decimals else None
    return [found or _fit(map_image, map_image(flat), runs, cost)]


def _candidates(runs: NDArray[Any], rows: int, cost: Cost) -> list[Candidate]:
    """Return the mappings that may suit a column of `rows`, tried on its sample."""
    ways = _floats(runs, rows, cost) if runs.dtype.kind == "f" else iter(())
    found = list(ways) or [_fit(map_image, map_image(runs.reshape(-1)), runs, cost)]
    entries = _dictionary(runs, rows, cost, found)
    return found if entries is None else [*found, entries]


def _try(mapping: Mapping, runs: NDArray[Any], rows: int, cost: Cost) -> Candidate | None:
    """Return what a mapping promises for a column of `rows` with such a sample, if it fits."""
    flat = runs.reshape(-1)
    if isinstance(mapping, partial) and mapping.func is map_dictionary:
        distinct = list_distinct(flat, min(MAX_ENTRIES, flat.size))
        base = None if distinct is None else mapping.keywords["map_entries"](distinct.entries)
        if distinct is None or base is None:
            return None
        bits = cost(distinct.places.reshape(runs.shape)) + entry_bits(distinct, base, rows)
        return Candidate(mapping, distinct.mapped(base), bits)
    mapped = mapping(flat)
    return None if mapped is None else _fit(mapping, mapped, runs, cost)


def _fit(mapping: Mapping, mapped: Mapped, runs: NDArray[Any], cost: Cost) -> Candidate:
    bits = cost(mapped.numbers.reshape(runs.shape)) + _correction_bits(runs, mapped, cost)
    return Candidate(mapping, mapped, bits)


def _correction_bits(runs: NDArray[Any], mapped: Mapped, cost: Cost) -> float:
    """Estimate corrections: so much for a misfit, or less if most are a few units off."""
    listed = _MISFIT_BITS * mapped.misfits.size / runs.size
    if listed < _FEW_BITS:
        return listed
    restored = mapped.transform.inverse(mapped.numbers.view(np.uint64), runs.dtype)
    steps = (image(runs.reshape(-1)) - image(restored)).view(np.int64)
    return min(listed, cost(((steps << 1) ^ (steps >> 63)).view(np.uint64).reshape(runs.shape)))


def _floats(runs: NDArray[Any], rows: int, cost: Cost) -> Iterator[Candidate]:
    """Yield what suits a sample of floats, the image included unless it cannot win."""
    flat = runs.reshape(-1)
    few = np.ascontiguousarray(flat[:: max(1, flat.size // _FEW)])
    exponents, counts = find_exponents(few, False)
    decimals = _decimals(few, counts)
    plain = _try(decimals, runs, rows, cost) if decimals else None
    mappings = list(_printed(few, exponents, decimals))
    if plain is not None:
        yield plain
    single = few.dtype.itemsize == 4 or bool(decimals and decimals.keywords["single"])
    sure = plain is not None and plain.bits <= _SURE_DIGITS[single] * _DIGIT_BITS
    if plain is None or not sure or _MISFIT_BITS * _share(plain) > _LITTLE_BITS:
        mappings += _nearly_decimals(few, decimals)
        mappings += _computed(few, flat, plain is not None, sure) or [map_image]
    for mapping in mappings:
        found = _try(mapping, runs, rows, cost)
        if found is not None:
            yield found


def _decimals(few: NDArray[Any], counts: NDArray[np.int64]) -> Decimals | None:
    """Return the decimals that suit a few values best, if most of them are decimals."""
    best = _digits(counts, False)
    if few.dtype.itemsize == 8 and (best is None or best[3]):
        both = (best, _digits(find_exponents(few, True)[1], True))
        best = min((found for found in both if found), default=None)
    if best is None:
        return None
    return partial(map_decimal, exponent=best[1], single=best[2], most=2 * _MOST_MISFITS)


def _nearly_decimals(few: NDArray[Any], decimals: Decimals | None) -> list[Mapping]:
    """Return decimals that many values miss by a rounding error, if they have fewer digits."""
    best = _digits(find_exponents(few, False, near=True)[1], False)
    if best is None or (decimals and decimals.keywords["exponent"] <= best[1]):
        return []
    return [partial(map_decimal, exponent=best[1], single=False, most=1.0)]


def _digits(counts: NDArray[np.int64], single: bool) -> tuple[float, int, bool, int] | None:
    """Return cost, digits, `single` and misfits of the cheapest decimals for a few values."""
    listed = counts.tolist()
    best, misfits = None, sum(listed)
    rows = misfits
    for digits, count in enumerate(listed[: MAX_EXPONENT + 1]):
        misfits -= count
        cost = _DIGIT_BITS * digits + _MISFIT_BITS * misfits / rows
        if misfits <= _MOST_MISFITS * rows and (best is None or cost < best[0]):
            best = (cost, digits, single, misfits)
        if misfits == 0:
            break
    return best


def _printed(
    few: NDArray[Any], exponents: NDArray[np.int64], decimals: Decimals | None
) -> Iterator[Mapping]:
    """Yield fractions that were rounded to decimals, and decimals of so many significant digits."""
    if decimals is None:
        return
    most, single = decimals.keywords["exponent"], decimals.keywords["single"]
    distinct = pick_distinct(few) if most >= 1 else few[:0]
    if distinct.size > 1:
        ways = [(DECIMALS, most), None] if few.dtype.itemsize == 4 else [(DECIMALS, most)]
        fractions = (find_fraction(distinct, way, single, True) for way in ways)
        yield from (_arithmetic(fraction) for fraction in fractions if fraction is not None)
    if most and not single:
        widest, deepest, spare = printed_digits(few, exponents, MAX_EXPONENT)
        if 1 <= widest <= _REAL_DIGITS[few.dtype.itemsize] and spare > _LEAST_GAIN:
            transform = Significant(widest, deepest)
            yield partial(map_significant, transform=transform, most=2 * _MOST_MISFITS)


def _arithmetic(transform: Arithmetic, most: float = 2 * _MOST_MISFITS) -> Mapping:
    return partial(map_arithmetic, transform=transform, most=most)


def _computed(few: NDArray[Any], more: NDArray[Any], decimal: bool, sure: bool) -> list[Mapping]:
    """Return fractions, or else a unit conversion or a scale, that explain a few values (and more).

    If they are `decimal`, only fractions that are no decimals can be better; if that is `sure`,
    nothing else is looked for.
    """
    distinct = np.unique(few[np.isfinite(few)])  # what most rows repeat must not decide alone
    if distinct.size < 3:
        return []
    single = few.dtype.itemsize == 8 and bool((few.astype(np.float32) == few).mean() > 0.9)
    ways: list[tuple[int, int] | None] = [None]
    widest = printed_digits(distinct, find_exponents(distinct, False)[0], MAX_EXPONENT + 1)[0]
    if 6 <= widest <= 17:
        ways.append((SIGNIFICANT, widest))
    fractions = [find_fraction(distinct, way, False, decimal) for way in ways]
    if single:  # what fits in float64 then is a number's own binary fraction, if it is large
        most = _SINGLES / float(np.abs(distinct[[0, -1]]).max())
        fractions = [way for way in fractions if way and way.steps[0].parameter < most]
        fractions = fractions or [find_fraction(distinct, None, True, decimal)]
    found = [fraction for fraction in fractions if fraction is not None]
    if not found and not sure:
        found = [
            way for way in (find_computed(distinct), find_scale(distinct, more, single)) if way
        ]
        found = sorted(found, key=lambda way: count_misfits(way, distinct))[:1]
        return [_arithmetic(way, most=1.0) for way in found]
    return [_arithmetic(way) for way in found]


def _dictionary(
    runs: NDArray[Any], rows: int, cost: Cost, others: list[Candidate]
) -> Candidate | None:
    """Return a dictionary, if the sample has few enough distinct values."""
    most = min(MAX_ENTRIES, 7 * runs.size // 8)
    for found in others:
        if not found.mapped.misfits.size:
            low, high = found.mapped.extent()
            most = min(most, (high - low) // 2)  # closer together, there is nothing to gain
    distinct = list_distinct(runs.reshape(-1), most) if most >= 2 else None
    if distinct is None:
        return None
    codes = cost(distinct.places.reshape(runs.shape))
    gain = _GAIN if distinct.entries.size > _FEW_ENTRIES else 1.0
    if codes >= gain * min(found.bits for found in others):
        return None  # before its entries are looked at, which takes as long again
    ways = entry_ways(runs.dtype, (found.mapping for found in others))
    way, base = best_way(distinct.entries, ways)
    mapping = partial(map_dictionary, map_entries=partial(map_entries, first=way, ways=ways))
    return Candidate(mapping, distinct.mapped(base), codes + entry_bits(distinct, base, rows))
