"""The encoder's half of `pipeline.codecs.series`: which stages a series of numbers goes through.

Few changes from row to row suggest runs, which are looked for before anything else. Any other
series is offered to the stage bins. Repeating patterns, which no predictor sees, are looked for in
the bins with Zstandard: only then are the plain streams tried, whose buffers are compressed with
it. With a memory, what suited the block before is taken while it does about as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numcodecs import zstd
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.choose_predictor import Prediction, choose_predictor, sample_runs
from pipeline.codecs.cursor import signed_varint, sized, varint
from pipeline.codecs.entropy import CONSTANT
from pipeline.codecs.lanes import DELTA, DELTA2, GRID, NONE, LanePredictor
from pipeline.codecs.lanes_bins import LOOK, Known
from pipeline.codecs.lanes_encode import Modelled, model_lanes
from pipeline.codecs.memory import Memory, SeriesPlan, next_part
from pipeline.codecs.plain_encode import PLAIN, PlainStream, encode_plain
from pipeline.codecs.recipes import Recipe
from pipeline.codecs.runs_encode import find_runs
from pipeline.codecs.scaling import Scaled, scale_down
from pipeline.codecs.series import BINS, NAMES, RUNS
from pipeline.codecs.short_encode import encode_short, scale_of
from pipeline.codecs.streams import EncodedStream

__all__ = ["Series", "encode_series", "repeat_series", "write_part"]

_LOG: Final = logging.getLogger(__name__)

_AUTO: Final = Recipe()

_FEW_RUNS: Final = 12
"""Rows per run from which runs are tried."""
_TINY: Final = 200  # bytes; the heads of the lanes of a whole block alone take as many
_MORE_RUNS: Final = 4
"""Rows per run from which runs are tried that must be so much shorter than bins, because they
take longer to decode: """
_MUCH_SHORTER: Final = 0.9
_SHORT: Final = 32
_JUDGED: Final = 16384
_STATES: Final = 128
"""Numbers below this may be states: contexts often tell more of them than differences do."""
_FEW_STATES: Final = 4
_FEW_VALUES: Final = 256
"""Numbers below this fit a byte, in which patterns often are clearer than in differences."""
_PATTERNED: Final = 0.93
_PATTERNS_SHARE: Final = 0.86
"""Of the bytes of bins, that a plain stream must stay below: it takes twice as long to decode."""
_LEAST_PATTERN: Final = 256
_WIDE: Final = 1 << 63
_MOST_USES: Final = 16
_SAFE_BITS: Final = 50
"""Numbers up to here suit every predictor."""
_AS_GOOD: Final = (0.7, 1.05)
"""Bits a row, as a share of those before, that a plan may take to be used again: more, and another
may be better; much fewer, and the column has become simple enough for others."""
_ALIKE: Final = 1.6
"""Up to here a few rows tell whether the predictor still is the best: blocks of a column differ."""
_STILL_PLAIN: Final = 0.4
_DOUBT: Final = 4  # one in so many runs of the sample
_SLACK_BITS: Final = 256.0


class Series(NamedTuple):
    """An encoded series, and offset and scale, with which it begins unless it is a list."""

    stream: EncodedStream
    offset: int
    scale: int


class _Found(NamedTuple):
    """A series in the stages that suit it best, and what else was looked at."""

    stream: EncodedStream
    ways: Sequence[EncodedStream]
    modelled: Modelled | None = None
    ranked: Sequence[Prediction] = ()

    def plan(self, rows: int) -> SeriesPlan:
        """Return what the next block should know."""
        stream, modelled = self.stream, self.modelled
        predictor, known = LanePredictor(stream.predictor), LOOK
        if stream.entropy == BINS and modelled is not None:
            predictor, known = modelled.predictor, modelled.known
        return SeriesPlan(
            stream.entropy,
            predictor,
            8.0 * len(stream.body) / rows,
            known,
            stream.width if isinstance(stream, PlainStream) else 0,
            tuple((way.predictor, way.bits) for way in self.ranked),
            tuple((NAMES[way.entropy], _size(way)) for way in self.ways),
        )


def encode_series(
    numbers: NDArray[Any],
    bounds: tuple[int, int] | None = None,
    recipe: Recipe = _AUTO,
    memory: Memory | None = None,
) -> Series:
    """Encode numbers with the stages that suit them.

    Parameters
    ----------
    numbers : ndarray of int64 or uint64, shape (rows,)
        At least one row.
    bounds : tuple of int, optional
        Smallest and largest number, if they are known.
    recipe : Recipe
        What may be tried.
    memory : Memory, optional
        Of the column.
    """
    if recipe.stage is not None:
        return _forced(numbers, bounds, recipe)
    if numbers.size < _SHORT:
        listed = numbers.tolist()
        return Series(encode_short(listed), *scale_of(listed))
    runs = _runs(numbers, _likely_runs(numbers, _FEW_RUNS), _FEW_RUNS, memory)
    if runs and _size(runs[0].stream) <= _TINY:
        series, found = runs[0], _best([way.stream for way in runs])
    else:
        scaled = scale_down(numbers, bounds)
        found = _search(scaled, recipe, [way.stream for way in runs])
        series = Series(found.stream, scaled.offset, scaled.scale)
        runs = [] if runs else _runs(numbers, _likely_runs(numbers, _MORE_RUNS), _MORE_RUNS, memory)
        if runs and _size(runs[0].stream) < _MUCH_SHORTER * _size(found.stream):
            series, found = runs[0], _best([*found.ways, runs[0].stream], None, found.ranked)
    if memory is not None:
        memory.series = found.plan(numbers.size)
    return series


def repeat_series(
    numbers: NDArray[Any], bounds: tuple[int, int] | None, recipe: Recipe, memory: Memory
) -> Series | None:
    """Return numbers in the stages of the block before, None if others may do better.

    Parameters are those of `encode_series`.
    """
    plan, rows = memory.series, numbers.size
    if plan is None or plan.uses >= _MOST_USES or rows < _SHORT or recipe.stage is not None:
        return None
    if plan.entropy in (RUNS, CONSTANT):
        runs = _runs(numbers, (plan.predictor.id,), _MORE_RUNS, memory)
        series = runs[0] if runs and _as_good(runs[0].stream, rows, plan) else None
    else:
        scaled = scale_down(numbers, bounds)
        stream = _again(scaled, plan)
        series = Series(stream, scaled.offset, scaled.scale) if stream is not None else None
    if series is not None:
        memory.series = plan.used(8.0 * _size(series.stream) / rows)
    return series


def write_part(numbers: NDArray[Any], *, patterns: bool | None = None) -> bytes:
    """Return `numbers`, int64 or uint64, as a nested stream, which never is one of runs.

    `patterns` is as in a recipe.
    """
    recipe = _AUTO if patterns is None else replace(_AUTO, patterns=patterns)
    return _part(numbers, *next_part(), recipe)


def _part(numbers: NDArray[Any], memory: Memory | None, key: str, recipe: Recipe = _AUTO) -> bytes:
    stream = encode_short(numbers.tolist()) if numbers.size < _SHORT else None
    if stream is None and memory is not None:
        stream = _remembering(scale_down(numbers), memory, key, recipe)
    elif stream is None:
        stream = _search(scale_down(numbers), recipe, []).stream
    return bytes((stream.predictor, stream.entropy)) + sized(stream.body)


def _remembering(scaled: Scaled, memory: Memory, key: str, recipe: Recipe) -> EncodedStream:
    """Return a part in the stages of the block before, or in those that suit it best."""
    plan, rows = memory.parts.get(key), scaled.multiples.size
    stream = _again(scaled, plan) if plan is not None and plan.uses < _MOST_USES else None
    if stream is not None and plan is not None:
        memory.parts[key] = plan.used(8.0 * _size(stream) / rows)
        return stream
    found = _search(scaled, recipe, [])
    memory.parts[key] = found.plan(rows)
    return found.stream


def _as_good(stream: EncodedStream, rows: int, plan: SeriesPlan) -> bool:
    """Tell whether a stream in the stages of a plan takes about as much as they did."""
    return 8 * _size(stream) < _ALIKE * plan.bits * rows + _SLACK_BITS


def _again(scaled: Scaled, plan: SeriesPlan) -> EncodedStream | None:
    """Return the series in the stages of a block before, None if others may do better."""
    rows = scaled.multiples.size
    if plan.entropy in PLAIN:
        stream = encode_plain(scaled, plan.predictor.id, plan.entropy, plan.width)
        enough = 8 * _size(stream) + _SLACK_BITS > _STILL_PLAIN * plan.bits * rows
        return stream if enough and _as_good(stream, rows, plan) else None
    if plan.entropy != BINS or int(scaled.multiples.max()) >> _SAFE_BITS:
        return None
    modelled = model_lanes(
        scaled.multiples.view(np.int64), plan.predictor, plan.bits,
        known=plan.known,
    )  # fmt: skip
    before = plan.bits * rows
    if modelled.bits + _SLACK_BITS < _AS_GOOD[0] * before:
        return None
    more = (modelled.bits - _SLACK_BITS) / before
    if more < _AS_GOOD[1] or (more < _ALIKE and _suits(scaled, plan)):
        return _lanes(scaled, modelled)
    return None


def _suits(scaled: Scaled, plan: SeriesPlan) -> bool:
    """Tell by a few rows whether a search would end with the bins of a plan as well."""
    numbers = scaled.multiples.view(np.int64)
    runs = sample_runs(numbers)[::_DOUBT]
    if _FEW_RUNS * min(_changes(runs)) <= runs.size:
        return False
    largest = int(numbers.max())
    if plan.predictor.id == NONE and largest < _STATES:
        return True
    best = choose_predictor(runs, largest)[0].predictor
    return best.id == plan.predictor.id and best.id != GRID


def _search(scaled: Scaled, recipe: Recipe, runs: list[EncodedStream]) -> _Found:
    """Return the series in the stages that suit it best; `runs` are the ways to store it as such."""
    numbers = scaled.multiples
    largest = int(numbers.max())
    if largest == 0:
        return _best([encode_plain(scaled, 0)])
    signed = numbers.view(np.int64)
    ranked = choose_predictor(sample_runs(signed), largest)
    modelled = _model(signed, ranked, recipe, largest)
    if runs and 8 * min(map(_size, runs)) < modelled.bits:
        return _best(runs, None, ranked)
    found = [*runs, _lanes(scaled, modelled)]
    suspected = largest < _FEW_STATES or _patterned(modelled)
    if recipe.patterns or (recipe.patterns is None and suspected):
        most = _size(found[-1]) * (1.0 if recipe.patterns else _PATTERNS_SHARE)
        orders = _orders(ranked[0], recipe)
        if largest < _FEW_VALUES and 0 not in orders and _clearer(signed, orders[0]):
            orders = (0,)
        ways = [encode_plain(scaled, order) for order in orders]
        found.extend(way for way in ways if _size(way) < most)
    _LOG.debug("%d rows: %s", numbers.size, [(NAMES[way.entropy], _size(way)) for way in found])
    return _best(found, modelled, ranked)


def _best(
    ways: list[EncodedStream],
    modelled: Modelled | None = None,
    ranked: Sequence[Prediction] = (),
) -> _Found:
    return _Found(min(ways, key=_size), ways, modelled, ranked)


def _size(stream: EncodedStream) -> int:
    return len(stream.body)


def _forced(numbers: NDArray[Any], bounds: tuple[int, int] | None, recipe: Recipe) -> Series:
    """Encode with the only stage that the recipe allows."""
    scaled = scale_down(numbers, bounds)
    signed, largest = scaled.multiples.view(np.int64), int(scaled.multiples.max())
    if largest == 0:
        return Series(encode_plain(scaled, 0), scaled.offset, scaled.scale)
    if recipe.stage == RUNS:
        return _runs(numbers, range(min(2, numbers.size)), 1, None)[0]
    ranked = choose_predictor(sample_runs(signed), largest)
    stream: EncodedStream
    if recipe.stage == BINS:
        stream = _lanes(scaled, _model(signed, ranked, recipe, largest))
    else:
        stream = encode_plain(scaled, _orders(ranked[0], recipe)[0], recipe.stage)
    return Series(stream, scaled.offset, scaled.scale)


def _model(
    numbers: NDArray[np.int64], ranked: list[Prediction], recipe: Recipe, largest: int
) -> Modelled:
    """Model lanes under the most promising predictors, and return the shortest."""
    tried = [way.predictor for way in ranked[: recipe.predictors]]
    if tried[0].id == GRID:  # short runs do not show how a clock drifts off that follows no row
        others = (way.predictor for way in ranked[1:] if way.predictor.id == GRID)
        tried += [way for way in others if way not in tried][:1]
    if largest < _STATES and recipe.contexts > 1 and all(predictor.id for predictor in tried):
        tried.append(LanePredictor(NONE))
    wide, known = largest >= _WIDE, LOOK
    if len(tried) > 1 and numbers.size > 2 * _JUDGED:  # all rows take long, and tell no more
        middle = (numbers.size - _JUDGED) // 2
        few = numbers[middle : middle + _JUDGED]
        models = [
            model_lanes(few, way, ranked[0].bits, recipe.contexts, wide=wide) for way in tried
        ]
        best = min(range(len(tried)), key=lambda at: models[at].bits)
        tried, known = [tried[best]], Known(models[best].known.layout)
    ways = [
        model_lanes(numbers, way, ranked[0].bits, recipe.contexts, wide=wide, known=known)
        for way in tried
    ]
    return min(ways, key=lambda way: way.bits)


def _lanes(scaled: Scaled, modelled: Modelled) -> EncodedStream:
    head = signed_varint(scaled.offset) + varint(scaled.scale)
    return EncodedStream(modelled.predictor.id, BINS, head + modelled.write())


def _orders(prediction: Prediction, recipe: Recipe) -> tuple[int, ...]:
    """Return the plain predictors to try: the one that is next to a laned one, or all."""
    if recipe.predictors > 1:
        return (0, 1, 2)
    order = prediction.predictor.id
    return (order if order <= DELTA2 else DELTA,)


def _likely_runs(numbers: NDArray[Any], few: int) -> list[int]:
    """Return of which orders one row in `few` may begin a run, judged from some rows."""
    sample = sample_runs(numbers.view(np.int64))
    changes = _changes(sample)
    return [order for order in (0, 1) if few * changes[order] <= sample.size]


def _changes(sample: NDArray[np.int64]) -> tuple[int, int]:
    """Return in how many rows numbers change, and in how many their differences do."""
    steps = sample[:, 1:] - sample[:, :-1]
    return int(np.count_nonzero(steps)), int(np.count_nonzero(steps[:, 1:] != steps[:, :-1]))


def _runs(
    numbers: NDArray[Any], orders: Iterable[int], few: int, memory: Memory | None
) -> list[Series]:
    """Return the series as runs of the order that has fewest, if at most one in `few` rows."""
    found = [find_runs(numbers, order, numbers.size // few + 1) for order in orders]
    runs = min((way for way in found if way), key=lambda way: way.values.size, default=None)
    if runs is None:
        return []
    order = runs.order
    if runs.values.size == 1:
        return [Series(encode_plain(scale_down(numbers), order), runs.offset, runs.scale)]
    parts = _part(runs.values, memory, f"values of runs {order}")
    parts += _part(runs.lengths - 1, memory, f"lengths of runs {order}")
    return [Series(EncodedStream(order, RUNS, runs.head() + parts), runs.offset, runs.scale)]


def _clearer(numbers: NDArray[np.int64], order: int) -> bool:
    """Tell by some rows whether Zstandard finds more in numbers below 256 than in differences."""
    start = max(0, (numbers.size - _JUDGED) // 2)
    few = numbers[start : start + _JUDGED].astype(np.uint8)
    return len(zstd.compress(few, 1)) <= len(zstd.compress(np.diff(few, order), 1))


def _patterned(modelled: Modelled) -> bool:
    """Tell whether the bins repeat in a way that their frequencies do not explain."""
    tokens = modelled.tokens
    if tokens.size < _LEAST_PATTERN:
        return True
    plain = float(kernel("block_sample", "byte_bits")(tokens))
    return bool(8 * len(zstd.compress(tokens, 1)) < _PATTERNED * plain)
