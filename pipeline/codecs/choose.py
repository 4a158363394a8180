"""Which stages suit a column, judged from a few thousand of its rows.

The choice has no effect on what comes back, only on size and speed, so it may improve for ever
without touching the format. Transforms and predictors are ranked by the estimated entropy of
their residuals; layouts are then tried with Zstandard on the sample, because repeated patterns
do not show in an entropy. A column no longer than the sample is encoded by the trial itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import WORD
from pipeline.codecs.entropy import BIT_PLANES, CODES, CONSTANT, ENTROPY, VARINTS, is_constant
from pipeline.codecs.mappings import (
    MAX_ENTRIES,
    Mapped,
    count_exponents,
    map_decimal,
    map_dictionary,
    map_image,
)
from pipeline.codecs.streams import Scaled, scale_down

__all__ = ["Fit", "encode_residuals", "fit", "sample"]

_LOG: Final = logging.getLogger(__name__)

_RUNS: Final = 8
_RUN_ROWS: Final = 512
_MISFIT_BITS: Final = 20.0  # position and correction of a row that is no decimal, on real columns
_DIGIT_BITS: Final = 3.32
_ENTRY_BITS: Final = 24.0  # of a dictionary
_MOST_MISFITS: Final = 0.15
_SURE_DIGITS: Final = 9  # decimals up to here never lost against the bits of a float
_ORDER_BITS: Final = np.array([0.0, 0.02, 0.04])  # the simpler predictor wins a tie
_WIDTHS: Final = (1, 2, 4, *range(8, 65, 8))
_NEAR: Final = 1.3
_VERY_NEAR: Final = 1.05  # a trial costs a short column a tenth of its time

type Mapping = Callable[[NDArray[Any]], Mapped | None]


def sample(rows: NDArray[Any]) -> NDArray[Any]:
    """Return contiguous runs from all over `rows`, shape (runs, rows of a run).

    A short column is one run by itself. Runs are contiguous because predictors need neighbours.
    """
    if rows.size <= _RUNS * _RUN_ROWS:
        return rows.reshape(1, -1)
    last = rows.size - _RUN_ROWS
    starts = [last * run // (_RUNS - 1) for run in range(_RUNS)]
    return np.concatenate([rows[at : at + _RUN_ROWS] for at in starts]).reshape(_RUNS, -1)


@dataclass(frozen=True)
class Fit:
    """A column, or its sample, as numbers, and how they are best predicted.

    Attributes
    ----------
    mapping : callable
        Maps values to numbers, or returns None where it does not fit.
    mapped : Mapped
        What it made of the values.
    scaled : Scaled
    order, step : int
        Id of the predictor, and its usual difference.
    bits : float
        Estimated bits per row.
    """

    mapping: Mapping
    mapped: Mapped
    scaled: Scaled
    order: int
    step: int
    bits: float


def fit(values: NDArray[Any]) -> Fit:
    """Choose transform and predictor for a column, and apply the transform.

    Parameters
    ----------
    values : ndarray, shape (rows,), at least one row
    """
    runs = sample(values)
    ranked = sorted(_fits(runs, values.size), key=lambda found: found.bits)
    _LOG.debug(
        "%d rows of %s: %s", values.size, values.dtype,
        [(found.mapped.transform.name, found.order, found.bits) for found in ranked],
    )  # fmt: skip
    if values.size == runs.size:
        return ranked[0]
    for found in ranked:
        mapped = found.mapping(values)
        if mapped is not None:
            return _fitted(found.mapping, mapped)
    return _fitted(map_image, map_image(values))


def _fitted(
    mapping: Mapping, mapped: Mapped, shape: tuple[int, ...] = (), extra: float = 0.0
) -> Fit:
    """Scale mapped numbers and choose their predictor; `extra` bits a row come on top."""
    scaled = scale_down(mapped.numbers)
    runs = scaled.multiples.reshape(shape) if shape else sample(scaled.multiples)
    step = _usual_step(runs)
    estimates = np.empty(min(3, runs.shape[1]))
    kernel("block_sample", "predictor_bits")(runs, np.uint64(step & WORD), estimates)
    order = int(np.argmin(estimates + _ORDER_BITS[: estimates.size]))
    bits = float(estimates[order]) + extra
    return Fit(mapping, mapped, scaled, order, step if order == 1 else 0, bits)


def _usual_step(runs: NDArray[np.uint64]) -> int:
    """Return the median difference between neighbours, of some hundreds of them."""
    steps = (runs[:, 1:] - runs[:, :-1]).reshape(-1).view(np.int64)
    few = np.sort(steps[:: max(1, steps.size // 512)])  # a full selection took 300 us
    return int(few[few.size // 2]) if few.size else 0


def _fits(runs: NDArray[Any], rows: int) -> list[Fit]:
    """Return the transforms that may suit a column of `rows`, estimated on its sample."""
    flat = runs.reshape(-1)
    fits = _decimals(flat, runs.shape) if flat.dtype.kind == "f" else []
    if not fits or fits[0].mapped.misfits.size or fits[0].bits > _SURE_DIGITS * _DIGIT_BITS:
        fits.append(_fitted(map_image, map_image(flat), runs.shape))
    span = min(int(found.scaled.multiples.max()) for found in fits)
    most = min(MAX_ENTRIES, flat.size // 4)
    if not any(found.mapped.misfits.size for found in fits):
        most = min(most, span // 2)  # closer together, a dictionary has nothing to gain
    mapped = map_dictionary(flat, most) if most > 1 else None
    if mapped is not None:
        entries = _ENTRY_BITS * (int(mapped.numbers.max()) + 1) / rows
        fits.append(_fitted(map_dictionary, mapped, runs.shape, entries))
    return fits


def _decimals(flat: NDArray[Any], shape: tuple[int, ...]) -> list[Fit]:
    """Return the best decimal transform, if most of the sample are decimals."""
    few = np.ascontiguousarray(flat[:: max(1, flat.size // 512)])
    best = _digits(few, False)
    if flat.dtype.itemsize == 8 and (best is None or best[3]):
        best = min((found for found in (best, _digits(few, True)) if found), default=None)
    if best is None:
        return []
    mapping = partial(map_decimal, exponent=best[1], single=best[2], most=2 * _MOST_MISFITS)
    mapped = mapping(flat)
    if mapped is None:
        return []
    extra = _MISFIT_BITS * mapped.misfits.size / flat.size
    return [_fitted(mapping, mapped, shape, extra)]


def _digits(few: NDArray[Any], single: bool) -> tuple[float, int, bool, int] | None:
    """Return cost, digits, `single` and misfits of the decimals that suit `few` values best."""
    best = None
    misfits = few.size
    for digits, count in enumerate(count_exponents(few, single).tolist()[:-1]):
        misfits -= count
        cost = _DIGIT_BITS * digits + _MISFIT_BITS * misfits / few.size
        if misfits <= _MOST_MISFITS * few.size and (best is None or cost < best[0]):
            best = (cost, digits, single, misfits)
    return best


def encode_residuals(residuals: NDArray[np.uint64]) -> tuple[int, bytes]:
    """Choose an entropy stage for residuals, shape (rows,); return its id and its bytes."""
    if is_constant(residuals):
        return CONSTANT, ENTROPY[CONSTANT].encode(residuals, 0)
    few = sample(residuals).reshape(-1)
    tried = {
        (entropy, width): ENTROPY[entropy].encode(few, width) for entropy, width in _layouts(few)
    }
    (entropy, width), body = min(tried.items(), key=lambda item: len(item[1]))
    sizes = {ENTROPY[way[0]].name: len(found) for way, found in tried.items()}
    _LOG.debug("%d residuals: %s, width %d", few.size, sizes, width)
    if few.size == residuals.size:
        return entropy, body
    if entropy == BIT_PLANES:
        width = int(residuals.max()).bit_length()
    return entropy, ENTROPY[entropy].encode(residuals, width)


def _layouts(residuals: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Return the entropy stages and widths worth trying on a sample, best estimate first."""
    longest = int(residuals.max()).bit_length()
    ways = [*((CODES, width) for width in _WIDTHS), (BIT_PLANES, longest), (VARINTS, 0)]
    estimates = np.empty(len(ways))
    kernel("block_sample", "layout_bits")(residuals, estimates)
    near, tried = (_NEAR, 4) if residuals.size > _RUN_ROWS else (_VERY_NEAR, 2)
    ranked = sorted(
        (bits, way)
        for bits, way in zip(estimates.tolist(), ways, strict=True)
        if way[1] < longest + 8 and (way[0] != VARINTS or longest > 7)
    )
    return [way for bits, way in ranked[:tried] if bits <= near * ranked[0][0]]
