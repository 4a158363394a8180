"""The steps that ask a fleet something: aggregates and newest readings."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import dask.array  # noqa: F401 (xarray would import it inside the first question: 0.1 to 0.4 s)
import numpy as np
import xarray as xr

from pipeline.api.archive import Archive
from pipeline.errors import JobError
from pipeline.jobs.reports import QuestionReport
from pipeline.jobs.step_options import AggregateStep, DownsampleStep, LatestStep

__all__ = ["ask_aggregate", "ask_downsample", "ask_latest", "excerpt", "write_answer"]

_SHOWN: Final = 3


def ask_aggregate(archive: Archive, step: AggregateStep) -> QuestionReport:
    """Ask for statistics, time it, and write the answer if the step says where.

    Raises
    ------
    ArchiveError
        If the question makes no sense, or the answer cannot be written.
    """
    fleet = archive.fleet(step.fleet)
    return _ask(
        lambda: fleet.aggregate(
            step.statistics,
            step.every,
            step.devices,
            step.time,
            step.by,
            where=step.where,
            window=step.window,
            origin=step.origin,
            timezone=step.timezone,
            gap=step.gap,
            fill=step.fill or "null",
            approximate=step.how_exact,
        ),
        "aggregate",
        step,
        _aggregate_title(step),
    )


def ask_latest(archive: Archive, step: LatestStep) -> QuestionReport:
    """Ask for the newest readings, time it, and write the answer if the step says where.

    Raises
    ------
    ArchiveError
        If the question makes no sense, or the answer cannot be written.
    """
    fleet = archive.fleet(step.fleet)
    title = f"newest reading of {_devices(step)}"
    return _ask(
        lambda: fleet.latest(step.devices, step.channels, where=step.where), "latest", step, title
    )


def ask_downsample(archive: Archive, step: DownsampleStep) -> QuestionReport:
    """Ask for readings to plot, time it, and write the answer if the step says where.

    Raises
    ------
    ArchiveError
        If the question makes no sense, or the answer cannot be written.
    """
    fleet = archive.fleet(step.fleet)
    return _ask(
        lambda: fleet.downsample(
            step.channel,
            points=step.points,
            method=step.method,
            devices=step.devices,
            time=step.time,
            where=step.where,
        ),
        "downsample",
        step,
        f"{step.points} points of {step.channel} to plot, {_devices(step)}",
    )


def _ask(
    question: Callable[[], xr.Dataset],
    kind: str,
    step: AggregateStep | LatestStep | DownsampleStep,
    title: str,
) -> QuestionReport:
    latencies = []
    for _ in range(step.repeat):
        began = time.perf_counter()
        answer = question()
        latencies.append(1000 * (time.perf_counter() - began))
    if step.output:
        write_answer(answer, Path(step.output).expanduser())
    return QuestionReport(
        step=kind,
        fleet=step.fleet,
        title=step.title or title,
        repeat=step.repeat,
        first_ms=latencies[0],
        median_ms=statistics.median(latencies),
        sizes={str(name): size for name, size in answer.sizes.items()},
        excerpt=excerpt(answer),
        units={
            str(name): values.attrs["units"]
            for name, values in answer.data_vars.items()
            if "units" in values.attrs
        },
        output=step.output,
    )


def _aggregate_title(step: AggregateStep) -> str:
    asked = [
        f"{name if isinstance(name, str) else ', '.join(name)} of {channel}"
        for channel, name in step.statistics.items()
    ]
    every = (
        f" every {step.every}" if step.every else f" by session ({step.gap})" if step.gap else ""
    )
    every += f" over {step.window}" if step.window else ""
    by = [step.by] if isinstance(step.by, str) else step.by
    grouped = "" if by is None else f" by {', '.join(by)}" if by else " together"
    about = "" if step.approximate is False else "about "
    return f"{about}{'; '.join(asked)}{every}, {_devices(step)}{grouped}"


def _devices(step: AggregateStep | LatestStep | DownsampleStep) -> str:
    devices = (step.devices,) if isinstance(step.devices, str) else step.devices
    asked = [f"{name} {_wanted(given)}" for name, given in (step.where or {}).items()]
    with_tags = f" with {' and '.join(asked)}" if asked else ""
    if devices is None:
        return f"all devices{with_tags}"
    return f"{devices[0] if len(devices) == 1 else f'{len(devices)} devices'}{with_tags}"


def _wanted(given: Any) -> str:
    several = given if isinstance(given, tuple) else (given,)
    return " or ".join("no value" if one is None else str(one) for one in several)


def excerpt(answer: xr.Dataset, shown: int = _SHOWN) -> tuple[dict[str, Any], ...]:
    """Return the first cells of an answer along its last dimension, and the first of any other.

    Parameters
    ----------
    answer
        A dataset whose variables share their dimensions.
    shown
        Most cells.

    Returns
    -------
    tuple of dict
        Coordinates and variables as plain values; missing is None, times are ISO 8601.
    """
    dimensions = list(answer.sizes)
    if 0 in answer.sizes.values():
        return ()
    part = answer.isel(dict.fromkeys(dimensions[:-1], 0))
    if not dimensions:
        return (_cell(part),)
    last = dimensions[-1]
    return tuple(_cell(part.isel({last: at})) for at in range(min(shown, answer.sizes[last])))


def _cell(cell: xr.Dataset) -> dict[str, Any]:
    return {str(name): _plain(values.values) for name, values in cell.variables.items()}


def _plain(value: Any) -> Any:
    if np.issubdtype(value.dtype, np.datetime64):
        whole = value.astype("M8[s]")
        return None if np.isnat(value) else f"{whole if whole == value else value}Z"
    plain = value.item()
    return None if isinstance(plain, float) and plain != plain else plain


def write_answer(answer: xr.Dataset, path: Path) -> None:
    """Write an answer to a Parquet or CSV file or a Zarr folder, in place of what was there.

    Raises
    ------
    JobError
        If a folder that is no Zarr group is in the way, or the place cannot be written.
    """
    if path.is_dir() and not (path / "zarr.json").is_file():
        msg = f"output {path}: a folder that is no Zarr group is in the way; name another place"
        raise JobError(msg)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zarr":
            answer.to_zarr(path, mode="w", consolidated=False)
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        frame = answer.to_dataframe().reset_index()
        frame.to_parquet(beside) if path.suffix == ".parquet" else frame.to_csv(beside, index=False)
        beside.replace(path)
    except OSError as error:
        msg = f"output {path}: cannot be written: {error.strerror or error}"
        raise JobError(msg) from error
