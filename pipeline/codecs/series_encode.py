"""The encoder's half of `pipeline.codecs.series`: which stages a series of numbers goes through.

Every series is offered to the stage bins. Few changes from row to row suggest runs, and repeating
patterns, which no predictor sees, are looked for in the bins with Zstandard: only then are the
plain streams tried, whose buffers are compressed with it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numcodecs import zstd
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.choose import encode_residuals
from pipeline.codecs.choose_predictor import Prediction, choose_predictor, sample_runs
from pipeline.codecs.cursor import WORD, signed_varint, sized, varint
from pipeline.codecs.entropy import BIT_PLANES, CODES, ENTROPY, VARINTS, is_constant
from pipeline.codecs.lanes import DELTA, DELTA2, GRID, NONE, LanePredictor
from pipeline.codecs.lanes_encode import LOOK, Modelled, model_lanes
from pipeline.codecs.memory import Memory, SeriesPlan, next_part
from pipeline.codecs.predictors import Predictor
from pipeline.codecs.recipes import Recipe
from pipeline.codecs.scaling import scale_down
from pipeline.codecs.series import BINS, LIST, NAMES, RUNS
from pipeline.codecs.streams import EncodedStream, Scaled, encode_stream, lengths_of

__all__ = ["encode_series", "write_part"]

_LOG: Final = logging.getLogger(__name__)

_AUTO: Final = Recipe()

_PLAIN: Final = (CODES, BIT_PLANES, VARINTS)
"""Stages that end in bytes for Zstandard."""

_FEW_RUNS: Final = 12
"""Rows per run from which runs are tried."""
_SHORT: Final = 32
_STATES: Final = 128
"""Numbers below this may be states: contexts often tell more of them than differences do."""
_FEW_STATES: Final = 4
_PATTERNED: Final = 0.93
_LEAST_PATTERN: Final = 1024
_WIDE: Final = 1 << 63
_MOST_USES: Final = 16
_SAFE_BITS: Final = 50
"""Numbers up to here suit every predictor."""
_AS_GOOD: Final = (0.7, 1.05)
"""Bits a row, as a share of those before, that a plan may take to be used again: more, and another
may be better; much fewer, and the column has become simple enough for others."""
_ALIKE: Final = 1.6
"""Up to here a few rows tell whether the predictor still is the best: blocks of a column differ."""
_DOUBT: Final = 4  # one in so many runs of the sample
_SLACK_BITS: Final = 256.0


def encode_series(
    scaled: Scaled, recipe: Recipe = _AUTO, memory: Memory | None = None
) -> EncodedStream:
    """Encode numbers with the stages that suit them.

    Parameters
    ----------
    scaled : Scaled
        At least one row.
    recipe : Recipe
        What may be tried.
    memory : Memory, optional
        Of the column.
    """
    if memory is None or recipe.stage is not None:
        return _search(scaled, recipe, memory).stream
    stream, memory.series = _remembering(scaled, recipe, memory.series, memory)
    return stream


def _remembering(
    scaled: Scaled,
    recipe: Recipe,
    plan: SeriesPlan | None,
    memory: Memory,
    *,
    nested: bool = False,
) -> tuple[EncodedStream, SeriesPlan]:
    """Return the series in the stages of `plan` while they do, and what the next one should know."""
    rows = scaled.multiples.size
    if plan is not None and plan.uses < _MOST_USES and rows >= _SHORT:
        stream = _again(scaled, plan, memory)
        if stream is not None:
            return stream, replace(plan, bits=8.0 * len(stream.body) / rows, uses=plan.uses + 1)
    found = _search(scaled, recipe, memory, nested=nested)
    return found.stream, found.plan(rows)


@dataclass(frozen=True)
class _Plain(EncodedStream):
    """A plain stream; `width` is that of its codes."""

    width: int = 0


class _Found(NamedTuple):
    """A series in the stages that suit it best, and what else was looked at."""

    stream: EncodedStream
    ways: list[EncodedStream]
    modelled: Modelled | None = None
    ranked: Sequence[Prediction] = ()

    def plan(self, rows: int) -> SeriesPlan:
        """Return what the next block should know."""
        stream, modelled = self.stream, self.modelled
        predictor, paired, known = LanePredictor(stream.predictor), False, LOOK
        if stream.entropy == BINS and modelled is not None:
            predictor, paired, known = modelled.predictor, modelled.paired, modelled.known
        return SeriesPlan(
            stream.entropy,
            predictor,
            8.0 * len(stream.body) / rows,
            paired,
            known,
            stream.width if isinstance(stream, _Plain) else 0,
            tuple((way.predictor, way.bits) for way in self.ranked),
            tuple((NAMES[way.entropy], _size(way)) for way in self.ways),
        )


def _again(scaled: Scaled, plan: SeriesPlan, memory: Memory) -> EncodedStream | None:
    """Return the series in the stages of a block before, None if others may do better."""
    rows = scaled.multiples.size
    stream: EncodedStream | None = None
    if plan.entropy in _PLAIN and rows > plan.predictor.id:
        stream = _plain(scaled, plan.predictor.id, plan.entropy, plan.width)
    elif plan.entropy == RUNS:
        found = _runs_of(scaled, plan.predictor.id, _FEW_RUNS, memory)
        stream = found[0] if found else None
    elif plan.entropy == BINS and int(scaled.multiples.max()) >> _SAFE_BITS == 0:
        modelled = model_lanes(
            scaled.multiples.view(np.int64), plan.predictor, plan.bits,
            paired=plan.paired, known=plan.known,
        )  # fmt: skip
        bits = modelled.bits / (plan.bits * rows + _SLACK_BITS)
        if _AS_GOOD[0] < bits < _AS_GOOD[1] or (bits < _ALIKE and _suits(scaled, plan)):
            return _lanes(scaled, modelled)
    if stream is not None and 8 * len(stream.body) < _ALIKE * plan.bits * rows + _SLACK_BITS:
        return stream
    return None


def _suits(scaled: Scaled, plan: SeriesPlan) -> bool:
    """Tell by a few rows whether a search would end with the bins of a plan as well."""
    numbers = scaled.multiples.view(np.int64)
    runs = sample_runs(numbers)[::_DOUBT]
    steps = runs[:, 1:] - runs[:, :-1]
    if _FEW_RUNS * min(_changes(steps)) <= runs.size:
        return False
    largest = int(numbers.max())
    if plan.predictor.id == NONE and largest < _STATES:
        return True
    best = choose_predictor(runs, largest)[0].predictor
    return best.id == plan.predictor.id and best.id != GRID


def _search(
    scaled: Scaled, recipe: Recipe, memory: Memory | None = None, *, nested: bool = False
) -> _Found:
    """Return the series in the stages that suit it best.

    With `nested`, runs are not allowed.
    """
    numbers = scaled.multiples
    largest = int(numbers.max())
    if largest == 0:
        return _best([_plain(scaled, 0)])
    if recipe.stage is not None and not nested:
        return _best([_forced(scaled, recipe, largest)])
    if numbers.size < _SHORT:
        return _best([_list(scaled), _plain(scaled, _short_order(numbers))])
    signed = numbers.view(np.int64)
    runs = sample_runs(signed)
    found = [] if nested else _runs(scaled, runs, _FEW_RUNS, memory)
    ranked = choose_predictor(runs, largest)
    modelled = _model(signed, ranked, recipe, largest)
    if found and 8 * min(map(_size, found)) < modelled.bits:
        return _best(found, None, ranked)
    found.append(_lanes(scaled, modelled))
    suspected = largest < _FEW_STATES or _patterned(modelled)
    if recipe.patterns or (recipe.patterns is None and suspected):
        found.extend(_plain(scaled, order) for order in _orders(ranked[0], recipe))
    _LOG.debug("%d rows: %s", numbers.size, [(NAMES[way.entropy], _size(way)) for way in found])
    return _best(found, modelled, ranked)


def _best(
    ways: list[EncodedStream],
    modelled: Modelled | None = None,
    ranked: Sequence[Prediction] = (),
) -> _Found:
    return _Found(min(ways, key=_size), ways, modelled, ranked)


def _short_order(numbers: NDArray[np.uint64]) -> int:
    """Return 1 if differences of few numbers span much less than they do, else 0."""
    steps = np.diff(numbers.view(np.int64))
    return int(steps.size > 0 and 2 * int(steps.max() - steps.min()) < int(numbers.max()))


def _list(scaled: Scaled) -> EncodedStream:
    words = scaled.multiples * np.uint64(scaled.scale) + np.uint64(scaled.offset & WORD)
    return EncodedStream(0, LIST, b"".join(map(signed_varint, words.tolist())))


def _size(stream: EncodedStream) -> int:
    return len(stream.body)


def _forced(scaled: Scaled, recipe: Recipe, largest: int) -> EncodedStream:
    """Encode with the only stage that the recipe allows."""
    signed = scaled.multiples.view(np.int64)
    if recipe.stage == RUNS:
        return min(_runs(scaled, sample_runs(signed), 0, None), key=_size)
    ranked = choose_predictor(sample_runs(signed), largest)
    if recipe.stage == BINS:
        return _lanes(scaled, _model(signed, ranked, recipe, largest))
    return _plain(scaled, _orders(ranked[0], recipe)[0], recipe.stage)


def _model(
    numbers: NDArray[np.int64], ranked: list[Prediction], recipe: Recipe, largest: int
) -> Modelled:
    """Model lanes under the most promising predictors, and return the shortest."""
    tried = ranked[: recipe.predictors]
    wide = largest >= _WIDE
    ways = [
        model_lanes(numbers, way.predictor, way.bits, recipe.contexts, wide=wide) for way in tried
    ]
    if largest < _STATES and recipe.contexts > 1 and all(way.predictor.id for way in tried):
        none = LanePredictor(NONE)
        ways.append(model_lanes(numbers, none, ranked[0].bits, recipe.contexts))
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


def _plain(
    scaled: Scaled, order: int, stage: int | None = None, width: int | None = None
) -> _Plain:
    """Return the series as a plain stream, of the only `stage` and `width` if they are told."""
    numbers = scaled.multiples
    order = min(order, numbers.size - 1)
    steps = (numbers[1:] - numbers[:-1]).view(np.int64) if order == 1 else numbers[:0]
    few = np.sort(steps[:: max(1, steps.size // 512)])
    step = int(few[few.size // 2]) if few.size else 0
    predictor, residuals = Predictor.forward(order, step, numbers)
    if stage is None or is_constant(residuals):
        stage, body = encode_residuals(residuals)
        width = body[0] if stage in (CODES, BIT_PLANES) else 0
    else:
        if width is None or stage == BIT_PLANES:
            width = int(residuals.max()).bit_length()
        body = ENTROPY[stage].encode(residuals, width)
    stream = encode_stream(scaled, predictor, stage, body)
    return _Plain(stream.predictor, stream.entropy, stream.body, width)


def _runs(
    scaled: Scaled, sample: NDArray[np.int64], few: int, memory: Memory | None
) -> list[EncodedStream]:
    """Return the series as runs, and as runs of differences, if at most one in `few` rows."""
    changes = _changes(sample[:, 1:] - sample[:, :-1])
    found = []
    for order in range(2):
        if few * changes[order] <= sample.size and scaled.multiples.size > order + 1:
            found += _runs_of(scaled, order, few, memory)
    return found


def _changes(steps: NDArray[np.int64]) -> tuple[int, int]:
    """Return in how many rows numbers change, and in how many their differences do."""
    return int(np.count_nonzero(steps)), int(np.count_nonzero(steps[:, 1:] != steps[:, :-1]))


def _runs_of(scaled: Scaled, order: int, few: int, memory: Memory | None) -> list[EncodedStream]:
    numbers = scaled.multiples
    head = signed_varint(scaled.offset) + varint(scaled.scale)
    if order:
        head += varint(int(numbers[0]))
        numbers = numbers[1:] - numbers[:-1]
    starts = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    if few * starts.size > numbers.size:
        return []
    starts = np.concatenate(([0], starts))
    lengths = lengths_of(starts, numbers.size) - 1
    parts = _part(numbers[starts].view(np.int64), memory, f"values of runs {order}")
    parts += _part(lengths, memory, f"lengths of runs {order}")
    return [EncodedStream(order, RUNS, head + varint(starts.size) + parts)]


def write_part(numbers: NDArray[Any], *, runs: bool = False) -> bytes:
    """Return `numbers` (int64 or uint64) as a nested stream, with runs only if they are allowed."""
    return _part(numbers, *next_part(), runs=runs)


def _part(numbers: NDArray[Any], memory: Memory | None, key: str, *, runs: bool = False) -> bytes:
    scaled = scale_down(numbers)
    if memory is None:
        stream = _search(scaled, _AUTO, nested=not runs).stream
    else:
        before = memory.parts.get(key)
        stream, memory.parts[key] = _remembering(scaled, _AUTO, before, memory, nested=not runs)
    return bytes((stream.predictor, stream.entropy)) + sized(stream.body)


def _patterned(modelled: Modelled) -> bool:
    """Tell whether the bins repeat in a way that their frequencies do not explain."""
    tokens = modelled.tokens
    if tokens.size < _LEAST_PATTERN:
        return True
    plain = float(kernel("block_sample", "byte_bits")(tokens))
    return bool(8 * len(zstd.compress(tokens, 1)) < _PATTERNED * plain)
