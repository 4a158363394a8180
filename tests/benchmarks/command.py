"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pipeline.errors import ArchiveError
from tests.benchmarks.measuring import machine_facts, one_process
from tests.benchmarks.outcome import Outcome, Size, WrongResultError
from tests.benchmarks.printing import listing, outcome_text
from tests.benchmarks.registry import BENCHMARKS

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark, or list them all; return the exit code.

    Parameters
    ----------
    arguments
        Of the command line; those of the process by default.
    """
    told = _parser().parse_args(arguments)
    if told.name is None:
        print(listing(BENCHMARKS.values()))
        return 0
    if told.name not in BENCHMARKS:
        return _fail(f"no benchmark {told.name!r}; there are: {', '.join(BENCHMARKS)}", 2)
    if told.size is Size.LARGE and not BENCHMARKS[told.name].has_large:
        return _fail(f"benchmark {told.name} has no --large; leave it out", 2)
    if told.json is not None and not told.json.parent.is_dir():
        return _fail(f"{told.json}: its folder does not exist; create it first", 2)
    machine = machine_facts()
    try:
        with one_process() if told.size is Size.TINY else nullcontext():
            outcome = BENCHMARKS[told.name].run(told.size, _show)
    except (ArchiveError, WrongResultError) as error:
        return _fail(str(error), 1)
    print(outcome_text(told.name, told.size, outcome, machine))
    if told.json is not None:
        document = _document(told.name, told.size, outcome, machine)
        told.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Run a benchmark; without a name, list them.",
        epilog="Data is written to TMPDIR and removed afterwards; name a disk to measure that disk.",
    )
    parser.add_argument("name", nargs="?", help="which benchmark to run")
    size = parser.add_mutually_exclusive_group()
    for choice, what in (
        (Size.LARGE, "more data, for hours; not every benchmark has it"),
        (Size.QUICK, "less data or fewer runs"),
        (Size.TINY, "only to see that it runs"),
    ):
        size.add_argument(
            f"--{choice.value}", dest="size", action="store_const", const=choice, help=what
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.set_defaults(size=Size.FULL)
    return parser


def _document(name: str, size: Size, outcome: Outcome, machine: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "size": size.value,
        "figures": {key: figure.value for key, figure in outcome.figures.items()},
        "rows": [dict(row) for row in outcome.rows],
        "machine": machine,
    }


def _show(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
