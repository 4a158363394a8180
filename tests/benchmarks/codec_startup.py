"""What a new process waits for: importing the package, and compiling or loading kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks.measuring import scratch_folder
from tests.benchmarks.outcome import Figure, Size, WrongResultError

__all__ = ["measure", "seconds_of"]

_ROOT: Final = Path(__file__).parents[2]
_FIRST_USE: Final = ("-m", "tests.benchmarks.codec_first_use")
_IMPORTS: Final = """
import time
import zarr, xarray, dask
began = time.perf_counter()
import pipeline
pipeline.Archive
print(time.perf_counter() - began)
"""
_WARM_RUNS: Final = {Size.FULL: 5, Size.QUICK: 3, Size.TINY: 1}
_IMPORT_RUNS: Final = {Size.FULL: 5, Size.QUICK: 5, Size.TINY: 1}


def measure(size: Size, show: Callable[[str], None]) -> Mapping[str, Figure]:
    """Measure start-up; compiling everything anew is left out at tiny size."""
    figures = dict(_tiny_first_use() if size is Size.TINY else _first_use(_WARM_RUNS[size]))
    imports = median(seconds_of("-c", _IMPORTS) for _ in range(_IMPORT_RUNS[size]))
    figures["import_pipeline_s"] = Figure(
        imports, "s, import pipeline and pipeline.Archive, where zarr, xarray, dask are imported"
    )
    for key, figure in figures.items():
        show(f"{key}: {figure.value:.2f} s")
    return figures


def seconds_of(*arguments: str, cache: Path | None = None) -> float:
    """Run Python in a fresh process and return the seconds that it prints.

    Parameters
    ----------
    arguments
        For the interpreter.
    cache
        Folder for compiled kernels in place of the usual one.

    Raises
    ------
    WrongResultError
        If it fails.
    """
    environment = dict(os.environ)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=_ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        msg = f"{' '.join(arguments)} ended with exit code {done.returncode}: {done.stderr.strip()}"
        raise WrongResultError(msg)
    return float(done.stdout)


def _first_use(warm_runs: int) -> Mapping[str, Figure]:
    with scratch_folder() as cache:
        cold = seconds_of(*_FIRST_USE, cache=cache)
        warm = median(seconds_of(*_FIRST_USE, cache=cache) for _ in range(warm_runs))
    return {
        "cold_compile_s": Figure(
            cold, f"s, {_BLOCKS} in a fresh process, nothing compiled before: importing numba, "
            "compiling and storing every kernel they need, and the work itself"
        ),
        "warm_load_s": _warm_figure(warm),
    }  # fmt: skip


def _tiny_first_use() -> Mapping[str, Figure]:
    return {"warm_load_s": _warm_figure(seconds_of(*_FIRST_USE))}


def _warm_figure(seconds: float) -> Figure:
    return Figure(seconds, f"s, {_BLOCKS} in a fresh process, kernels loaded from their cache")


_BLOCKS: Final = "first encode and decode of a block of 8,192 rows of each synthetic column"
