"""Run every check and test: ``python -m tests``.

Two lines of steps run side by side. One fetches the servers that tests need, compiles what is to be
compiled, and runs all tests, a file on each core, with a JSON report. The other checks lint, format,
types and import contracts, and runs the codec tests once more with the kernels as plain Python, so
that coverage counts their lines; what it prints comes when it is done. The coverage bounds are checked
last. The first failure of a line ends it, and the run fails.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO

PYTEST = [sys.executable, "-m", "pytest", "--cov=pipeline", "--cov-report="]

LONGEST = 45 * 60
"""Seconds after which a step is stopped: it hangs."""

SLOW_WITHOUT_COMPILATION = [
    f"--ignore=tests/codecs/{name}.py"
    for name in (
        "test_block_roundtrip",
        "test_block_statistics",
        "test_block_zarr",
        "test_choose_transform",
        "test_fuzz",
        "test_lanes",
        "test_zarr_filters",
    )
]
"""They take minutes as plain Python, and add no line to those that the others reach."""


@dataclass(frozen=True)
class Step:
    """A command of the run.

    Attributes
    ----------
    name : str
    command : list of str
    environment : dict
        What it gets on top.
    """

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, out: IO[str] | None) -> bool:
        """Run the command and tell whether it succeeded; print to `out`, or where we do."""
        print(f"\n== {self.name}: {' '.join(self.command)}", file=out, flush=True)
        started = time.monotonic()
        environment = {**_environment(), **self.environment}
        # In a session of its own, so that nothing it started outlives a command that is stopped.
        process = subprocess.Popen(
            _resolved(self.command), env=environment, stdout=out, stderr=out, start_new_session=True
        )
        told = ""
        try:
            told = "" if process.wait(LONGEST) == 0 else " failed"
        except subprocess.TimeoutExpired:
            told = f" was stopped after {LONGEST} s, and failed"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        took = time.monotonic() - started
        print(f"== {self.name}{told}: {took:.1f} s", file=out, flush=True)
        return not told


TESTS = [
    Step("servers for tests", [sys.executable, "-m", "tests.servers.install"]),
    # A minute in a new checkout, which every process of the tests would spend on the same loops.
    Step("compiled loops", [sys.executable, "-m", "tests.benchmarks.codec_first_use"]),
    Step(
        "tests",
        [
            *PYTEST,
            "--numprocesses=auto",
            "--maxprocesses=4",
            "--dist=loadfile",
            "--max-worker-restart=2",
            "--json-report",
            "--json-report-file=pytest_results.json",
            "--json-report-indent=1",
        ],
        {"COVERAGE_FILE": ".coverage.compiled"},
    ),
]
CHECKS = [
    Step("lint", ["ruff", "check", "."]),
    Step("format", ["ruff", "format", "--check", "."]),
    Step("types", ["mypy"]),
    Step("import contracts", ["lint-imports"]),
    Step(
        "codec kernels without compilation",
        [*PYTEST, "-q", "tests/codecs", *SLOW_WITHOUT_COMPILATION],
        {"NUMBA_DISABLE_JIT": "1", "COVERAGE_FILE": ".coverage.interpreted"},
    ),
]
BOUNDS = [
    Step("join coverage", ["coverage", "combine", ".coverage.compiled", ".coverage.interpreted"]),
    Step(
        "coverage of partitioning",
        ["coverage", "report", "--include=pipeline/partitioning/*", "--fail-under=100"],
    ),
    Step("coverage", ["coverage", "report", "--fail-under=90"]),
]


def main() -> int:
    """Run all steps; return 0 if every one succeeded."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        checked: list[bool] = []
        beside = Thread(target=lambda: checked.append(_line(CHECKS, out)))
        beside.start()
        tested = _line(TESTS)
        beside.join()
        out.seek(0)
        print(out.read(), flush=True)
    if not (tested and all(checked) and checked and _line(BOUNDS)):
        print("\nSome checks failed.")
        return 1
    print("\nAll checks passed.")
    return 0


def _line(steps: Sequence[Step], out: IO[str] | None = None) -> bool:
    """Run steps one after the other up to the first that fails; tell whether none did."""
    return all(step.run(out) for step in steps)


def _environment() -> dict[str, str]:
    """Return our environment, in which whoever imports a module keeps its bytecode.

    The run starts Python some hundred times, and each start would compile every module of the
    package anew (0.6 s of a processor), each process of pytest every test (9 s).
    """
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def _resolved(command: list[str]) -> list[str]:
    tools = Path(sys.executable).parent
    program = tools / command[0]
    return [str(program) if program.exists() else command[0], *command[1:]]


if __name__ == "__main__":
    sys.exit(main())
