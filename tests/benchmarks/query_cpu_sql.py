"""The host queries in SQL, for a table ``cpu``; hosts are told by their number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.simulation.tsbs_cpu import CPU_FIELDS
from tests.benchmarks.query_questions import Draw
from tests.benchmarks.query_sql import Sql, SqlSide, in_list

__all__ = ["CPU_SQL"]


def _where(side: SqlSide, draw: Draw) -> str:
    dialect = side.dialect
    where = f"WHERE time >= {dialect.at(draw.start)} AND time < {dialect.at(draw.stop)}"
    return where + (f" AND tags_id IN {in_list(draw.devices)}" if draw.devices else "")


def _each(function: str, metrics: int) -> str:
    return ", ".join(f"{function}({name}) AS {name}" for name in CPU_FIELDS[:metrics])


def _greatest(metrics: int, minutes: int) -> Sql:
    def greatest(side: SqlSide, draw: Draw) -> pa.Table:
        """Greatest values of all hosts asked for, by minute or hour."""
        return side.run(f"""
            SELECT {side.dialect.floor("time", minutes)} AS start, {_each("max", metrics)}
            FROM cpu {_where(side, draw)} GROUP BY start ORDER BY start""")

    return greatest


def _hourly(metrics: int) -> Sql:
    def hourly(side: SqlSide, draw: Draw) -> pa.Table:
        """Hourly means of each host."""
        return side.run(f"""
            SELECT tags_id, {side.dialect.floor("time", 60)} AS start, {_each("avg", metrics)}
            FROM cpu {_where(side, draw)} GROUP BY tags_id, start ORDER BY start, tags_id""")

    return hourly


def high_cpu(side: SqlSide, draw: Draw) -> pa.Table:
    """Rows of busy hosts."""
    return side.run(f"SELECT * FROM cpu {_where(side, draw)} AND usage_user > 90")


def last_point(side: SqlSide, draw: Draw) -> pa.Table:
    """Newest row of each host."""
    last = ", ".join(f"{side.dialect.last(name)} AS {name}" for name in CPU_FIELDS)
    return side.run(f"SELECT tags_id, max(time) AS newest, {last} FROM cpu GROUP BY tags_id")


def last_minutes(side: SqlSide, draw: Draw) -> pa.Table:
    """Greatest use in the last five minutes with readings before a time.

    The suite leaves it to the database to find out that only the end is needed. Here all sides
    look at the last minutes first, and further back if these are not enough.
    """
    minute = draw.stop.astype("M8[m]")
    for back in (5, 60, 10**6):
        start = side.dialect.at(minute - np.timedelta64(back, "m"))
        found = side.run(f"""
            SELECT {side.dialect.floor("time", 1)} AS start, max(usage_user) AS usage_user
            FROM cpu WHERE time >= {start} AND time < {side.dialect.at(draw.stop)}
            GROUP BY start ORDER BY start DESC LIMIT 5""")
        if len(found) == 5:
            break
    return found


CPU_SQL: Final[Mapping[str, Sql]] = {
    "single-groupby-1-1-1": _greatest(1, 1),
    "single-groupby-5-8-1": _greatest(5, 1),
    "cpu-max-all-8": _greatest(10, 60),
    "double-groupby-1": _hourly(1),
    "double-groupby-all": _hourly(10),
    "high-cpu-1": high_cpu,
    "high-cpu-all": high_cpu,
    "lastpoint": last_point,
    "groupby-orderby-limit": last_minutes,
}
"""By query type."""
