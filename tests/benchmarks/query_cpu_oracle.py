"""What the host queries mean, in pandas: slow, plain, and what the others have to agree with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import pandas as pd

from pipeline.simulation.tsbs_cpu import CPU_FIELDS
from tests.benchmarks.query_data import Dataset
from tests.benchmarks.query_questions import Draw

__all__ = ["CPU_ORACLE"]

type _Oracle = Callable[[Dataset, Draw], pd.DataFrame]


def _asked(data: Dataset, draw: Draw) -> pd.DataFrame:
    rows = data.rows
    rows = rows[(rows["time"] >= draw.start) & (rows["time"] < draw.stop)]
    if draw.devices:
        rows = rows[rows["device"].isin(draw.devices)]
    return pd.DataFrame(rows)


def _greatest(metrics: int, every: str) -> _Oracle:
    names = list(CPU_FIELDS[:metrics])

    def greatest(data: Dataset, draw: Draw) -> pd.DataFrame:
        """Greatest values of all hosts asked for, by minute or hour."""
        rows = _asked(data, draw)
        return pd.DataFrame(rows.groupby(rows["time"].dt.floor(every))[names].max().reset_index())

    return greatest


def _hourly(metrics: int) -> _Oracle:
    names = list(CPU_FIELDS[:metrics])

    def hourly(data: Dataset, draw: Draw) -> pd.DataFrame:
        """Hourly means of each host."""
        rows = _asked(data, draw)
        found = rows.groupby(["device", rows["time"].dt.floor("h")])[names].mean()
        return pd.DataFrame(found.reset_index())

    return hourly


def high_cpu(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Rows of busy hosts."""
    rows = _asked(data, draw)
    return pd.DataFrame(rows[rows["usage_user"] > 90])


def last_point(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Newest row of each host."""
    return pd.DataFrame(_asked(data, draw).groupby("device").last().reset_index())


def last_minutes(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Greatest use in the last five minutes with readings before a time."""
    rows = data.rows[data.rows["time"] < draw.stop]
    found = rows.groupby(rows["time"].dt.floor("min"))[["usage_user"]].max()
    return pd.DataFrame(found.sort_index().tail(5).reset_index())


CPU_ORACLE: Final[Mapping[str, _Oracle]] = {
    "single-groupby-1-1-1": _greatest(1, "min"),
    "single-groupby-5-8-1": _greatest(5, "min"),
    "cpu-max-all-8": _greatest(10, "h"),
    "double-groupby-1": _hourly(1),
    "double-groupby-all": _hourly(10),
    "high-cpu-1": high_cpu,
    "high-cpu-all": high_cpu,
    "lastpoint": last_point,
    "groupby-orderby-limit": last_minutes,
}
"""By query type."""
