"""Run every check and test: ``python -m tests``.

Lint, format, types and import contracts come first, then all tests with a JSON report, then
the codec tests once more with the kernels as plain Python, so that coverage counts their lines,
and last the coverage bounds. The first failure ends the run with its exit code.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

PYTEST = [sys.executable, "-m", "pytest", "--cov=pipeline", "--cov-report="]

SLOW_WITHOUT_COMPILATION = [
    f"--ignore=tests/codecs/{name}.py"
    for name in ("test_block_roundtrip", "test_fuzz", "test_lanes")
]
"""They take minutes as plain Python, and add no line to those that the others reach."""

STEPS: list[tuple[str, list[str], dict[str, str]]] = [
    ("lint", ["ruff", "check", "."], {}),
    ("format", ["ruff", "format", "--check", "."], {}),
    ("types", ["mypy"], {}),
    ("import contracts", ["lint-imports"], {}),
    (
        "tests",
        [
            *PYTEST,
            "--json-report",
            "--json-report-file=pytest_results.json",
            "--json-report-indent=1",
        ],
        {},
    ),
    (
        "codec kernels without compilation",
        [*PYTEST, "--cov-append", "-q", "tests/codecs", *SLOW_WITHOUT_COMPILATION],
        {"NUMBA_DISABLE_JIT": "1"},
    ),
    (
        "coverage of partitioning",
        ["coverage", "report", "--include=pipeline/partitioning/*", "--fail-under=100"],
        {},
    ),
    ("coverage", ["coverage", "report", "--fail-under=90"], {}),
]


def main() -> int:
    """Run the steps in order; return the exit code of the first that fails."""
    for name, command, extra in STEPS:
        print(f"\n== {name}: {' '.join(command)}", flush=True)
        started = time.monotonic()
        done = subprocess.run(_resolved(command), env={**os.environ, **extra}, check=False)
        print(f"== {name}: {time.monotonic() - started:.1f} s", flush=True)
        if done.returncode:
            print(f"== {name} failed", flush=True)
            return done.returncode
    print("\nAll checks passed.")
    return 0


def _resolved(command: list[str]) -> list[str]:
    tools = os.path.dirname(sys.executable)
    program = os.path.join(tools, command[0])
    return [program if os.path.exists(program) else command[0], *command[1:]]


if __name__ == "__main__":
    sys.exit(main())
