"""Codecs: blocks of real and made-up sensors, against pcodec, Parquet, Blosc2, zstd and others.

Every column is cut into blocks as the archive stores them, and the serialised blocks of every
side are counted, each peer at its best settings. What the block codec and pcodec wrote is
decoded and compared bit for bit. Then both encode and decode the same blocks in turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from tests.benchmarks import codec_archive, codec_startup, codec_typical, gigabyte
from tests.benchmarks.codec_columns import REAL, SYNTHETIC, Block, Column, check_same, spread
from tests.benchmarks.codec_columns_real import real_columns, real_data_folder
from tests.benchmarks.codec_columns_synthetic import synthetic_columns
from tests.benchmarks.codec_peers import PEERS
from tests.benchmarks.codec_results import Measured, row, size_figures, speed_figures, table
from tests.benchmarks.codec_sides import OURS, PCODEC8, PCODEC12, Side, stages_text
from tests.benchmarks.codec_speeds import compare_speeds
from tests.benchmarks.measuring import Stopwatch
from tests.benchmarks.outcome import Figure, Outcome, Size

__all__ = ["measure_sizes", "run"]

_TIMED_BLOCKS: Final = 3


@dataclass(frozen=True, slots=True)
class _Scale:
    """Rows of a block, synthetic blocks, most blocks of a real column, turns of timing."""

    block_rows: int
    synthetic: int
    real: int | None
    turns: int


_SCALES: Final = {
    Size.FULL: _Scale(65_536, 2, None, 7),
    Size.QUICK: _Scale(65_536, 1, 2, 3),
    Size.TINY: _Scale(4096, 1, 0, 1),
}

_PARTS: Final = (
    codec_typical.measure, codec_startup.measure, codec_archive.measure, gigabyte.measure,
)  # fmt: skip
"""Further figures; each is told the size and where to show progress. Add another one here."""


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure sizes and speeds; `show` is told about progress."""
    scale = _SCALES[size]
    found: list[Measured] = []
    timed: list[list[Block]] = []
    for column, blocks in _columns(scale):
        found.append(measure_sizes(column, blocks))
        full = [block for block in blocks if len(block.values) == scale.block_rows]
        timed.append(spread(full, _TIMED_BLOCKS))
        show(f"sizes, {column.group} {column.name}: {found[-1].ratio('pcodec8'):.3f} of pcodec8")
    show("speeds")
    with Stopwatch() as watch:
        speeds = compare_speeds(OURS, PCODEC8, timed, scale.turns)
    found = [replace(one, speeds=paces) for one, paces in zip(found, speeds, strict=True)]
    figures = {**size_figures(found), **speed_figures(found), "cores_of_others": _others(watch)}
    for measure in _PARTS:
        figures |= measure(size, show)
    notes = _NOTES if real_data_folder() and scale.real != 0 else (_NO_REAL_DATA, *_NOTES)
    return Outcome(figures, [row(one) for one in found], notes, table(found))


def measure_sizes(column: Column, blocks: Sequence[Block]) -> Measured:
    """Return the bytes of every side for the blocks of a column.

    Raises
    ------
    WrongResultError
        If the block codec or pcodec does not give back what it was given.
    """
    kept = {side.name: _encoded(side, column.name, blocks) for side in (OURS, PCODEC8, PCODEC12)}
    sizes = {name: size for name, (size, _) in kept.items()}
    stages = Counter(stages_text(data) for data in kept[OURS.name][1])
    return Measured(
        name=column.name,
        group=column.group,
        dtype=str(column.values.dtype),
        rows=sum(len(block.values) for block in blocks),
        raw_bytes=sum(block.values.nbytes for block in blocks),
        ours=sizes.pop(OURS.name),
        peers={**sizes, **{name: size(blocks) for name, size in PEERS.items()}},
        stages=stages.most_common(1)[0][0],
    )


def _columns(scale: _Scale) -> Iterator[tuple[Column, list[Block]]]:
    folder = real_data_folder()
    real = real_columns(folder) if folder and scale.real != 0 else ()
    synthetic = synthetic_columns(scale.block_rows * scale.synthetic)
    most = {REAL: scale.real, SYNTHETIC: None}
    for column in chain(real, synthetic):
        yield column, column.blocks(scale.block_rows, most[column.group])


def _encoded(side: Side, column: str, blocks: Sequence[Block]) -> tuple[int, list[Any]]:
    kept = [side.encode(block) for block in blocks]
    for block, data in zip(blocks, kept, strict=True):
        check_same(side.name, column, block, side.decode(data))
    return sum(map(side.size, kept)), kept


def _others(watch: Stopwatch) -> Figure:
    return Figure(
        watch.other_cpu_seconds / watch.seconds,
        "cores busy with other programs during the timing; near 0, or speeds are not to be used",
    )


_NO_REAL_DATA: Final = (
    "Without real data: name its folder in IOT_ARCHIVE_REAL_DATA to measure that, too."
)
_NOTES: Final = (
    "One thread. Every block of ours and of pcodec came back bit for bit; speeds are MB of raw",
    "values per second, medians of turns in one process with warm kernels: compiling is not timed.",
    "Bytes are those of serialised blocks, every header included. Peers that know no missing rows",
    "get the values that are there, and a bitmap under zstd that counts in bytes and times.",
)
