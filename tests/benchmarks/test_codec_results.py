"""Figures of the codecs benchmark from what was measured, and that wrong results are none."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.codec_bench import measure_sizes
from tests.benchmarks.codec_columns import REAL, SYNTHETIC, Block, Column
from tests.benchmarks.codec_results import (
    Measured,
    geometric_mean,
    row,
    size_figures,
    speed_figures,
    table,
)
from tests.benchmarks.codec_sides import OURS, PCODEC8, Side
from tests.benchmarks.codec_speeds import Pace, Speeds, compare_speeds, pace
from tests.benchmarks.codec_startup import seconds_of
from tests.benchmarks.outcome import Outcome, Size, WrongResultError
from tests.benchmarks.printing import outcome_text

PEERS = {
    "pcodec8": 100,
    "pcodec12": 80,
    "parquet": 200,
    "blosc2": 400,
    "zstd": 160,
    "doubledelta": 50,
    "gorilla": 800,
}


def measured(name: str, group: str, ours: int, **changes: int) -> Measured:
    """Return a column of 1,000 doubles."""
    return Measured(name, group, "float64", 1000, 8000, ours, {**PEERS, **changes}, "delta")


FOUND = [
    replace(
        measured("one", REAL, 50),
        speeds=Speeds(Pace(100.0, 50.0, 2.0), Pace(40.0, 50.0, 0.8), Pace(900.0, 300.0, 3.0)),
    ),
    replace(
        measured("two", REAL, 200, doubledelta=320),
        speeds=Speeds(Pace(100.0, 200.0, 0.5), Pace(100.0, 500.0, 0.2), Pace(100.0, 300.0, 1 / 3)),
    ),
    measured("three", SYNTHETIC, 80),
]


def test_geometric_means_worked_out_by_hand() -> None:
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1)
    assert geometric_mean([3.0]) == pytest.approx(3)
    assert geometric_mean([1.0, 2.0, 4.0]) == pytest.approx(2)
    assert geometric_mean([1e-300] * 3) == pytest.approx(1e-300)


def test_figures_of_sizes_are_means_and_worst_of_ratios() -> None:
    figures = {key: figure.value for key, figure in size_figures(FOUND).items()}
    expected = {
        "size_vs_pcodec8_real": 1.0,
        "size_vs_pcodec8_synthetic": 0.8,
        "size_vs_pcodec12_real": 1.25,
        "size_vs_pcodec12_synthetic": 1.0,
        "worst_vs_pcodec8": 2.0,
        "size_vs_parquet": (0.25 * 1 * 0.4) ** (1 / 3),
        "size_vs_blosc2": (0.125 * 0.5 * 0.2) ** (1 / 3),
        "size_vs_zstd": (0.3125 * 1.25 * 0.5) ** (1 / 3),
        "size_vs_doubledelta": (1 * 0.625 * 1.6) ** (1 / 3),
        "size_vs_gorilla": (0.0625 * 0.25 * 0.1) ** (1 / 3),
        "worst_vs_best_peer": 2.5,
    }
    assert figures == pytest.approx(expected)


def test_the_worst_columns_are_named() -> None:
    figures = size_figures(FOUND)
    assert "two (pcodec12)" in figures["worst_vs_best_peer"].meaning
    assert "two (pcodec8)" in figures["worst_vs_pcodec8"].meaning
    assert "two" in speed_figures(FOUND)["decode_worst_vs_pcodec8"].meaning


def test_a_group_without_columns_has_no_figures() -> None:
    assert "size_vs_pcodec8_real" not in size_figures(FOUND[2:])
    assert speed_figures(FOUND[2:]) == {}


def test_figures_of_speeds_are_above_one_where_we_are_faster() -> None:
    figures = {key: figure.value for key, figure in speed_figures(FOUND).items()}
    expected = {
        "encode_vs_pcodec8": 1.0,
        "encode_worst_vs_pcodec8": 0.5,
        "encode_alone_vs_pcodec8": 0.4,
        "encode_alone_worst_vs_pcodec8": 0.2,
        "decode_vs_pcodec8": 1.0,
        "decode_worst_vs_pcodec8": 1 / 3,
    }
    assert figures == pytest.approx(expected)


def test_rows_hold_the_bytes_of_every_side() -> None:
    rows = [row(one) for one in FOUND]
    assert all(rows[0].keys() == other.keys() for other in rows)
    assert rows[0].keys() >= {"column", "ours", "stages", *PEERS}
    assert (rows[0]["best_peer"], rows[0]["vs_best_peer"]) == ("doubledelta", 1.0)
    assert (rows[0]["encode_vs_pcodec8"], rows[2]["encode_vs_pcodec8"]) == (2.0, None)


def test_the_table_has_a_short_line_per_column() -> None:
    long = replace(measured("a name that is too long to be shown whole", REAL, 10**7), rows=10**7)
    fast = replace(
        long, speeds=Speeds(Pace(1e4, 1e3, 10.0), Pace(9e3, 1e3, 9.0), Pace(2e4, 1e3, 20.0))
    )
    lines = table([*FOUND, fast]).splitlines()
    assert len(lines) == 4 + len(FOUND) + 1
    assert max(map(len, lines)) <= 140
    assert "2delta" in lines[4]


def test_the_table_takes_the_place_of_the_runs_before_the_figures() -> None:
    figures = size_figures(FOUND)
    text = outcome_text(
        "codecs", Size.TINY, Outcome(figures, [row(one) for one in FOUND], (), table(FOUND)), {}
    )
    assert text.index("three") < text.index("size_vs_parquet")
    assert "Runs" not in text


def test_a_wrong_decode_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    column = Column("ramp", SYNTHETIC, np.arange(3000) / 10)
    found = measure_sizes(column, column.blocks(1000))
    assert (found.rows, found.raw_bytes) == (3000, 24_000)
    assert found.ours < found.raw_bytes

    def forgetful(data: bytes) -> Block:
        values = OURS.decode(data).values.copy()
        values[7] = 0.0
        return Block(values)

    monkeypatch.setattr(
        "tests.benchmarks.codec_bench.OURS", Side("ours", OURS.encode, forgetful, len)
    )
    with pytest.raises(WrongResultError, match="ours changed column ramp"):
        measure_sizes(column, column.blocks(1000))


def test_a_pcodec_that_does_not_work_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    column = Column("ramp", SYNTHETIC, np.arange(3000) / 10)
    broken = Side("pcodec8", PCODEC8.encode, lambda kept: Block(np.zeros(1000)), PCODEC8.size)
    monkeypatch.setattr("tests.benchmarks.codec_bench.PCODEC8", broken)
    with pytest.raises(WrongResultError, match="pcodec8 changed column ramp"):
        measure_sizes(column, column.blocks(1000))


def test_a_pace_is_medians_of_speeds_and_of_the_ratios_of_turns() -> None:
    # A neighbour made both four times slower in one turn, and only theirs in another one.
    found = pace(8.0, [(2.0, 1.0), (8.0, 4.0), (2.0, 40.0)])
    assert found == Pace(ours=4.0, theirs=2.0, ratio=0.5)


def test_sides_take_turns_on_every_column_without_garbage_collection() -> None:
    done: list[str] = []

    def side(name: str) -> Side:
        def decode(kept: Block) -> Block:
            done.append(name + str(len(kept.values)))
            assert not gc.isenabled()
            return kept

        return Side(name, lambda block: block, decode, lambda kept: 1)

    columns = [[Block(np.zeros(3))], [], [Block(np.zeros(5))]]
    first, none, second = compare_speeds(side("a"), side("b"), columns, 2)
    # Once to warm the caches, then timed; the next column before the next turn.
    assert done == ["a3", "b3", "a3", "b3", "a5", "b5", "a5", "b5"] * 2
    assert gc.isenabled()
    assert none is None
    for speeds in (first, second):
        assert speeds is not None
        assert min(speeds.encode.ours, speeds.decode.theirs, speeds.decode.ratio) > 0


def test_a_fresh_process_can_have_its_own_cache_of_compiled_code(tmp_path: Path) -> None:
    script = "import os; print(len(os.environ['NUMBA_CACHE_DIR']))"
    assert seconds_of("-c", script, cache=tmp_path) == len(str(tmp_path))


def test_a_fresh_process_that_fails_is_no_result() -> None:
    with pytest.raises(WrongResultError, match="exit code 3"):
        seconds_of("-c", "raise SystemExit(3)")
