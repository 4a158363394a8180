"""What SQL of DuckDB and ClickHouse is spelled differently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

__all__ = ["CLICKHOUSE", "DUCKDB", "Dialect", "Sql", "SqlSide", "in_list"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a database says things.

    Parameters
    ----------
    minutes
        Pattern of a column cut to `minutes` minutes.
    newest
        Pattern of the value of a column, that is not missing, at the greatest time.
    moment
        Pattern of a time.
    seconds
        Pattern of the seconds from `start` to `stop`.
    """

    minutes: str
    newest: str
    moment: str
    seconds: str

    def floor(self, column: str, minutes: int) -> str:
        """Return a column cut to minutes."""
        return self.minutes.format(column=column, minutes=minutes)

    def last(self, column: str) -> str:
        """Return the value of a column at the greatest time."""
        return self.newest.format(column=column)

    def at(self, time: np.datetime64) -> str:
        """Return a time, whole seconds."""
        return self.moment.format(time=str(time.astype("M8[s]")).replace("T", " "))

    def between(self, start: str, stop: str) -> str:
        """Return the seconds from one column to another."""
        return self.seconds.format(start=start, stop=stop)


DUCKDB: Final = Dialect(
    "time_bucket(INTERVAL {minutes} MINUTE, {column})",
    "arg_max({column}, time)",
    "TIMESTAMP '{time}'",
    "date_diff('second', {start}, {stop})",
)
CLICKHOUSE: Final = Dialect(
    "toStartOfInterval({column}, INTERVAL {minutes} MINUTE)",
    "argMax({column}, time)",
    "toDateTime('{time}', 'UTC')",
    "dateDiff('second', {start}, {stop})",
)


@dataclass(frozen=True, slots=True)
class SqlSide:
    """A database that is asked.

    Parameters
    ----------
    run
        Runs a statement.
    dialect
        How it wants that spelled.
    """

    run: Callable[[str], pa.Table]
    dialect: Dialect


type Sql = Callable[[SqlSide, Any], pa.Table]
"""A query type: runs its statements with the parameters of a draw."""


def in_list(values: Sequence[int]) -> str:
    """Return numbers as the list of ``IN``."""
    return f"({', '.join(map(str, values))})"
