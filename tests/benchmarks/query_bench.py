"""Query: the query types of the Time Series Benchmark Suite, against DuckDB and ClickHouse.

Trucks and hosts send every ten seconds for days. Each system stores the same rows in the form it
likes best, is asked the same questions with the same random parameters, and has to answer them
as pandas does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any, Final

import numpy as np

import pipeline
from pipeline.jobs.printing import align
from tests.benchmarks.measuring import Stopwatch, scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size
from tests.benchmarks.query_answers import check_answer, tidy_answer
from tests.benchmarks.query_cpu_oracle import CPU_ORACLE
from tests.benchmarks.query_data import Dataset, make_dataset
from tests.benchmarks.query_iot_oracle import IOT_ORACLE
from tests.benchmarks.query_questions import QUESTIONS, Draw, Question
from tests.benchmarks.query_systems import System, systems

__all__ = ["run"]

_ORACLE: Final = {**IOT_ORACLE, **CPU_ORACLE}
_UNCACHED: Final = "ours_uncached"
_PEERS: Final = ("duckdb", "duckdb_parquet", "clickhouse")
_SEED: Final = 20160101


@dataclass(frozen=True, slots=True)
class _Scale:
    """Trucks, hosts and days of rows; random parameters of each question, and rounds of them.

    Without `pandas` answers are compared with DuckDB's: its copies of the rows would not fit in.
    """

    trucks: int
    hosts: int
    days: float
    draws: int
    rounds: int
    pandas: bool = True


_SCALES: Final = {
    Size.LARGE: _Scale(4000, 0, 3, 3, 3, pandas=False),
    Size.FULL: _Scale(400, 400, 3, 5, 5),
    Size.QUICK: _Scale(100, 100, 1, 3, 3),
    Size.TINY: _Scale(20, 20, 0.25, 2, 1),
}


@dataclass(slots=True)
class _Times:
    """Seconds of one query type, by system: by the clock, and of all cores."""

    warm: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    cold: dict[str, float] = field(default_factory=dict)
    rows: int = 0

    def row(self, question: Question) -> dict[str, Any]:
        """Return its line: milliseconds of each system."""
        warm = {f"{name}_ms": 1e3 * median(seconds) for name, seconds in self.warm.items()}
        cpu = {f"{name}_cpu_ms": 1e3 * median(seconds) for name, seconds in self.cpu.items()}
        cold = {f"{name}_cold_ms": 1e3 * seconds for name, seconds in self.cold.items()}
        return {"query": question.name, "answer_rows": self.rows, **warm, **cpu, **cold}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure all query types, one data set after another; `show` is told about progress."""
    scale, rows, stored = _SCALES[size], [], dict[str, int]()
    for name, questions in groupby(QUESTIONS, lambda question: question.measurement):
        with scratch_folder() as folder:
            devices = scale.hosts if name == "cpu" else scale.trucks
            if not devices:
                continue
            data = make_dataset(name, devices, scale.days, folder)
            show(f"{name}: {len(data.rows):,} rows of {devices:,} devices")
            if not scale.pandas:
                data = replace(data, rows=data.rows.iloc[:0].copy())
            rows += _measure(data, list(questions), scale, folder, stored, show)
    table = align(list(_TABLE), [[_cell(row[key]) for key in _TABLE.values()] for row in rows])
    return Outcome(_figures(rows, stored), rows, _NOTES, table)


def _measure(
    data: Dataset,
    questions: Sequence[Question],
    scale: _Scale,
    folder: Path,
    stored: dict[str, int],
    show: Callable[[str], None],
) -> list[dict[str, Any]]:
    every = systems(folder)
    for system in every:
        began = time.perf_counter()
        stored[system.name] = stored.get(system.name, 0) + system.load(data)
        show(f"{data.name}: loaded into {system.name} in {time.perf_counter() - began:.1f} s")
        system.open()
    found = []
    for question in questions:
        times = _Times()
        draws = _draws(question, data, scale.draws)
        _check(every, question, draws, data, times, scale.pandas)
        for _ in range(scale.rounds):
            _time(every, question, draws, times)
        _time_uncached(every[0], question, draws, times, scale.rounds)
        found.append(times)
    for system in every:
        system.close()
    for question, times in zip(questions, found, strict=True):
        draw = _draws(question, data, 1)[0]
        times.cold = {system.name: _cold(system, question, draw) for system in every}
        show(" ".join(f"{key}={_cell(value)}" for key, value in times.row(question).items()))
    return [times.row(question) for question, times in zip(questions, found, strict=True)]


def _draws(question: Question, data: Dataset, number: int) -> list[Draw]:
    rng = np.random.default_rng(_SEED)
    return [question.draw(rng, data) for _ in range(1 if question.is_fixed else number)]


def _check(
    every: Sequence[System],
    question: Question,
    draws: Sequence[Draw],
    data: Dataset,
    times: _Times,
    pandas: bool,
) -> None:
    """Ask each system everything once, which warms it, too, and compare the answers."""
    for draw in draws:
        told = _ORACLE[question.name](data, draw) if pandas else every[1].ask(question.name, draw)
        expected = tidy_answer(told, question, data)
        times.rows = max(times.rows, len(expected))
        for system in every:
            answer = tidy_answer(system.ask(question.name, draw), question, data)
            check_answer(system.name, question, answer, expected)


def _time(
    every: Sequence[System], question: Question, draws: Sequence[Draw], times: _Times
) -> None:
    """Ask all systems in turns, so that whatever slows the machine slows all of them."""
    for draw in draws:
        for system in every:
            with Stopwatch() as watch:
                system.ask(question.name, draw)
            times.warm.setdefault(system.name, []).append(watch.seconds)
            times.cpu.setdefault(system.name, []).append(watch.cpu_seconds)


def _time_uncached(
    ours: System, question: Question, draws: Sequence[Draw], times: _Times, rounds: int
) -> None:
    """Ask ours once more, with no decoded column kept."""
    size = pipeline.set_cache_size(0)
    for _ in range(rounds):
        for draw in draws:
            with Stopwatch() as watch:
                ours.ask(question.name, draw)
            times.warm.setdefault(_UNCACHED, []).append(watch.seconds)
    pipeline.set_cache_size(size)


def _cold(system: System, question: Question, draw: Draw) -> float:
    """Return the seconds of opening a system and asking it once."""
    began = time.perf_counter()
    system.open()
    system.ask(question.name, draw)
    seconds = time.perf_counter() - began
    system.close()
    return seconds


def _figures(rows: Sequence[Mapping[str, Any]], stored: Mapping[str, int]) -> dict[str, Figure]:
    figures = {}
    for peer in _PEERS:
        ratios = [row["ours_ms"] / row[f"{peer}_ms"] for row in rows]
        title = _TITLES[peer]
        wins = sum(ratio < 1 for ratio in ratios) / len(ratios)
        figures[f"wins_vs_{peer}"] = Figure(wins, f"part of the query types faster than {title}")
        figures[f"geomean_vs_{peer}"] = Figure(
            geometric_mean(ratios), f"our time by that of {title}, geometric mean, warm"
        )
        cpu = [row["ours_cpu_ms"] / row[f"{peer}_cpu_ms"] for row in rows]
        figures[f"cpu_geomean_vs_{peer}"] = Figure(
            geometric_mean(cpu), "the same in processor time, which busy neighbours change least"
        )
        uncached = [row[f"{_UNCACHED}_ms"] / row[f"{peer}_ms"] for row in rows]
        figures[f"uncached_geomean_vs_{peer}"] = Figure(
            geometric_mean(uncached), "the same with no decoded column kept by ours"
        )
        cold = [row["ours_cold_ms"] / row[f"{peer}_cold_ms"] for row in rows]
        figures[f"cold_geomean_vs_{peer}"] = Figure(
            geometric_mean(cold), "the same of opening and the first call"
        )
    best = [min(row[f"{peer}_ms"] for peer in _PEERS[:2]) for row in rows]
    figures["wins_vs_best_duckdb"] = Figure(
        sum(row["ours_ms"] < ms for row, ms in zip(rows, best, strict=True)) / len(rows),
        "part of the query types faster than both forms of DuckDB",
    )
    for name, size in stored.items():
        figures[f"{name}_bytes"] = Figure(size, "bytes stored, all data sets together")
    return figures


_TITLES: Final = {
    "duckdb": "DuckDB's own sorted table",
    "duckdb_parquet": "DuckDB on a sorted Parquet file a day",
    "clickhouse": "ClickHouse's MergeTree",
}
_TABLE: Final = {
    "query": "query",
    "rows": "answer_rows",
    "ours ms": "ours_ms",
    "no cache": "ours_uncached_ms",
    "DuckDB": "duckdb_ms",
    "Parquet": "duckdb_parquet_ms",
    "ClickHouse": "clickhouse_ms",
    "cold: ours": "ours_cold_ms",
    "DuckDB ": "duckdb_cold_ms",
    "Parquet ": "duckdb_parquet_cold_ms",
    "ClickHouse ": "clickhouse_cold_ms",
}


def _cell(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


_NOTES: Final = (
    "Milliseconds: warm medians over rounds and random parameters, systems in turns; cold is opening",
    "the system and asking once, in a process that has all code loaded and files in the page cache.",
    "No cache: ours once more, with no decoded columns kept (set_cache_size(0)); right after its turns, and",
    "on its own, which favours it.",
    "All sides are embedded, with all cores; DuckDB and ClickHouse hand over Arrow tables.",
    "Every answer was compared with pandas' (of 4,000 trucks with DuckDB's); sums of floats may differ by their order.",
    "A truck's last value is the last that is known. The five last minutes of groupby-orderby-limit",
    "are looked for at the end of the range by all sides. Readings without a truck's name are left out.",
    "Ours keeps windows of an hour. Trucks are partitioned by the tag fleet, 128 a block; hosts lie 25 a",
    "block. Precomputed is what it keeps by default: statistics of each device in each hour; no rollups.",
    "Means of ten minutes, and whatever asks for single rows, are computed from rows by all sides.",
)
