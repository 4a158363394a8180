"""Quickstart: the job a newcomer runs first, as the newcomer runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.measuring import medians, scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError

__all__ = ["run", "run_job"]

_ROOT: Final = Path(__file__).parents[2]
_JOB: Final = "configs/quickstart.yaml"
_SOURCE: Final = "steps.0.import.source.simulated"
_QUESTIONS: Final = ("one_device_mean", "hourly_means", "latest")


@dataclass(frozen=True, slots=True)
class _Scale:
    runs: int
    overrides: tuple[str, ...] = ()


_SCALES: Final = {
    Size.FULL: _Scale(7),
    Size.QUICK: _Scale(3),
    Size.TINY: _Scale(1, (f"{_SOURCE}.devices=64", f"{_SOURCE}.readings=100")),
}

_MEANINGS: Final = {
    "points_per_s": "points imported per second",
    "ratio": "raw bytes (8 a time, 8 a value) by all bytes stored",
    "seconds": "s, the import: simulating, encoding, durable commit",
    "warmup_s": "s, before the clock: loading or compiling code",
    "stored_bytes": "all files of the archive",
    "one_device_mean_ms": "ms, mean, minimum and maximum of one device",
    "one_device_mean_first_ms": "ms, the same, asked for the first time",
    "hourly_means_ms": "ms, hourly means of all devices",
    "hourly_means_first_ms": "ms, the same, asked for the first time",
    "latest_ms": "ms, newest reading of all devices",
    "latest_first_ms": "ms, the same, asked for the first time",
    "process_s": "s, the whole process, start of Python included",
}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Run the job several times; `show` is told about progress."""
    scale = _SCALES[size]
    rows = []
    for turn in range(1, scale.runs + 1):
        with scratch_folder() as folder:
            rows.append({"run": turn, **run_job(_JOB, folder, scale.overrides)})
        show(f"run {turn} of {scale.runs}: {rows[-1]['process_s']:.2f} s")
    found = medians(rows, list(_MEANINGS))
    figures = {key: Figure(found[key], meaning) for key, meaning in _MEANINGS.items()}
    return Outcome(figures, rows, _NOTES)


def run_job(job: str, folder: Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Run a job in a process of its own, with its archive in `folder`.

    Returns
    -------
    dict
        What its report says, by the keys of this benchmark's figures.

    Raises
    ------
    WrongResultError
        If it fails, or reports something else than an import and three questions.
    """
    report = folder / "report.json"
    command = [
        sys.executable, "-m", "pipeline", "--quiet", job,
        f"archive={folder / 'archive'}", f"report={report}", *overrides,
    ]  # fmt: skip
    began = time.perf_counter()
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        msg = f"{job} ended with exit code {done.returncode}: {done.stderr.strip()}"
        raise WrongResultError(msg)
    return {**_numbers(json.loads(report.read_text(encoding="utf-8")), job), "process_s": seconds}


def _numbers(report: dict[str, Any], job: str) -> dict[str, float]:
    steps = report["steps"]
    if [step["step"] for step in steps] != ["import", "aggregate", "aggregate", "latest"]:
        msg = f"{job} is no longer an import, two aggregates and a latest; mend this benchmark"
        raise WrongResultError(msg)
    numbers = {key: steps[0][key] for key in ("points_per_s", "ratio", "seconds", "stored_bytes")}
    numbers["warmup_s"] = report["cluster"]["warmup_s"]
    for name, step in zip(_QUESTIONS, steps[1:], strict=True):
        numbers[f"{name}_ms"] = step["median_ms"]
        numbers[f"{name}_first_ms"] = step["first_ms"]
    return numbers


_NOTES: Final = (
    "Medians over fresh processes; a question's latency is the median of the calls in its process.",
)
