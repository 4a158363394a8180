"""Outcomes as text for people: aligned tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.jobs.printing import align
from tests.benchmarks.outcome import Benchmark, Outcome, Size

__all__ = ["listing", "outcome_text"]


def listing(benchmarks: Iterable[Benchmark]) -> str:
    """Return the names of benchmarks with what they do."""
    rows = [[benchmark.name, benchmark.description] for benchmark in benchmarks]
    return align(("benchmark", "what it measures"), rows, left=2)


def outcome_text(name: str, size: Size, outcome: Outcome, machine: Mapping[str, Any]) -> str:
    """Return an outcome as a heading, the facts of the machine, figures, runs and notes.

    A table that the outcome brings along takes the place of the runs, before the figures.
    """
    heading = f"Benchmark {name}, {size.value} size"
    facts = ", ".join(f"{key} {value}" for key, value in machine.items())
    figures = [
        [key, _number(figure.value), figure.meaning] for key, figure in outcome.figures.items()
    ]
    paragraphs = [
        f"{heading}\n{'=' * len(heading)}\n{facts}",
        outcome.table,
        "Figures\n" + _with_meaning(figures),
        "" if outcome.table else "Runs\n" + _runs(outcome.rows),
        "\n".join(f"  {note}" for note in outcome.notes),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _with_meaning(figures: Sequence[Sequence[str]]) -> str:
    lines = align(("figure", "value"), [row[:2] for row in figures]).split("\n")
    return "\n".join(
        [*lines[:2], *(f"{line}  {row[2]}" for line, row in zip(lines[2:], figures, strict=True))]
    )


def _runs(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one line per run, or one column if that is narrower."""
    table = [list(rows[0]), *([_number(value) for value in row.values()] for row in rows)]
    if len(rows) < len(rows[0]):
        table = [list(column) for column in zip(*table, strict=True)]
    return align(table[0], table[1:])


def _number(value: Any) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"
