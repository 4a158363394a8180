"""The systems that are asked: each holds the same data sets in the form it likes best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from chdb.session import Session

import pipeline
from tests.benchmarks.measuring import folder_bytes
from tests.benchmarks.query_cpu_ours import CPU_OURS
from tests.benchmarks.query_cpu_sql import CPU_SQL
from tests.benchmarks.query_data import Dataset
from tests.benchmarks.query_iot_ours import IOT_OURS
from tests.benchmarks.query_iot_sql import IOT_SQL
from tests.benchmarks.query_questions import Draw
from tests.benchmarks.query_sql import CLICKHOUSE, DUCKDB, Sql, SqlSide

__all__ = ["ClickHouse", "DuckDb", "DuckDbParquet", "Ours", "System", "systems"]

_OURS: Final[Mapping[str, Callable[[pipeline.Fleet, Draw], Any]]] = {**IOT_OURS, **CPU_OURS}
_SQL: Final[Mapping[str, Sql]] = {**IOT_SQL, **CPU_SQL}
_TRUCKS: Final = pipeline.Partitioning("1 hour", devices_per_block=128, by="fleet")
_HOSTS: Final = pipeline.Partitioning("1 hour", devices_per_block=25)


class System(Protocol):
    """One system with one data set."""

    name: str

    def load(self, data: Dataset) -> int:
        """Store a data set; return the bytes it takes."""

    def open(self) -> None:
        """Open what `load` stored, as a program does that starts."""

    def close(self) -> None:
        """Let go of everything that is open."""

    def ask(self, question: str, draw: Draw) -> Any:
        """Answer a question of the suite, in memory."""


@dataclass(slots=True, eq=False)
class Ours:
    """The archive, in a folder."""

    folder: Path
    name: str = "ours"
    _fleet: pipeline.Fleet | None = None

    def load(self, data: Dataset) -> int:
        """Append the intakes as they arrive, and compact; earlier states are expired."""
        archive = pipeline.Archive.create(self.folder)
        schema = pipeline.Schema.from_arrow(data.source.arrow_schema())
        partitioning = _HOSTS if data.name == "cpu" else _TRUCKS
        fleet = archive.create_fleet(data.name, schema, partitioning)
        fleet.set_tags(data.source.tags())
        for intake in data.intakes():
            fleet.append(intake)
        archive.maintain(history="0 s", safety="0 s", alone=True)
        return folder_bytes(self.folder)

    def open(self) -> None:
        """Open the archive and its fleet."""
        archive = pipeline.Archive.open(self.folder)
        self._fleet = archive.fleet(archive.fleets[0])

    def close(self) -> None:
        """Forget them, and what the process keeps decoded."""
        self._fleet = None
        pipeline.set_cache_size(pipeline.set_cache_size(0))

    def ask(self, question: str, draw: Draw) -> Any:
        """Ask the fleet."""
        assert self._fleet is not None
        return _OURS[question](self._fleet, draw)


@dataclass(slots=True, eq=False)
class DuckDb:
    """A database file with a table sorted by device and time."""

    folder: Path
    name: str = "duckdb"
    _connection: duckdb.DuckDBPyConnection | None = None

    def load(self, data: Dataset) -> int:
        """Fill tables ``tags`` and that of the measurement."""
        self.folder.mkdir()
        self.open()
        self._load(data, "TABLE")
        self.close()
        return folder_bytes(self.folder)

    def _load(self, data: Dataset, kind: str) -> None:
        connection = self._connection
        assert connection is not None
        files, order = data.parquet / "*" / "rows.parquet", " ORDER BY tags_id, time"
        columns = ", ".join(["device AS tags_id", "time", *data.channels])
        connection.register("frame", _tags(data))
        connection.execute("CREATE TABLE tags AS SELECT * FROM frame")
        connection.execute(
            f"CREATE {kind} {data.name} AS SELECT {columns} FROM "
            f"read_parquet('{files}', hive_partitioning = true)"
            + (order if kind == "TABLE" else "")
        )

    def open(self) -> None:
        """Connect; results keep the order that statements ask for, no other."""
        self._connection = duckdb.connect(self.folder / "data.duckdb")
        self._connection.execute("SET preserve_insertion_order = false")
        self._connection.execute("SET parquet_metadata_cache = true")

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def ask(self, question: str, draw: Draw) -> Any:
        """Run the SQL, fetch Arrow."""
        return _SQL[question](SqlSide(self._run, DUCKDB), draw)

    def _run(self, statement: str) -> pa.Table:
        assert self._connection is not None
        return self._connection.sql(statement).to_arrow_table()


@dataclass(slots=True, eq=False)
class DuckDbParquet(DuckDb):
    """A view on a sorted Parquet file a day."""

    name: str = "duckdb_parquet"

    def load(self, data: Dataset) -> int:
        """Make the view; the files are the data set's."""
        self.folder.mkdir()
        self.open()
        self._load(data, "VIEW")
        self.close()
        return folder_bytes(data.parquet)


_CODECS: Final = {
    "device": "UInt32 CODEC(Delta, ZSTD)",
    "time": "DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD)",
    "float64": "Nullable(Float64) CODEC(Gorilla, ZSTD)",
    "int64": "Int64 CODEC(Delta, ZSTD)",
}


@dataclass(slots=True, eq=False)
class ClickHouse:
    """A MergeTree ordered by device and time, in an embedded ClickHouse."""

    folder: Path
    name: str = "clickhouse"
    _session: Session | None = None

    def load(self, data: Dataset) -> int:
        """Fill tables ``tags`` and that of the measurement, and merge their parts."""
        self.open()
        self._execute("CREATE DATABASE suite ENGINE = Atomic")
        self._execute("USE suite")
        tags = _tags(data)
        kinds = {
            str(name): "Nullable(Float64)" if kind == "float64" else "Nullable(String)"
            for name, kind in tags.dtypes.items()
        } | {"id": "UInt32"}
        self._create("tags", kinds, "id")
        self._insert("tags", pa.Table.from_pandas(tags, preserve_index=False))
        kinds = {"tags_id": _CODECS["device"], "time": _CODECS["time"]}
        kinds |= {name: _CODECS[str(data.rows[name].dtype)] for name in data.channels}
        self._create(data.name, kinds, "tags_id, time")
        files = data.parquet / "*" / "rows.parquet"
        columns = ", ".join(["device", "time", *data.channels])
        self._execute(f"INSERT INTO {data.name} SELECT {columns} FROM file('{files}', Parquet)")
        self._execute(f"OPTIMIZE TABLE {data.name} FINAL")
        found = self._run(
            "SELECT sum(bytes_on_disk) AS size FROM system.parts WHERE active AND database = 'suite'"
        )
        self.close()
        return int(found["size"][0].as_py())

    def _create(self, table: str, kinds: Mapping[str, str], order: str) -> None:
        columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
        self._execute(f"CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY ({order})")

    def _insert(self, table: str, rows: pa.Table) -> None:
        path = self.folder / f"{table}.arrow"
        with pa.ipc.new_file(path, rows.schema) as writer:
            writer.write_table(rows)
        columns = ", ".join(rows.column_names)
        self._execute(f"INSERT INTO {table} SELECT {columns} FROM file('{path}', Arrow)")

    def open(self) -> None:
        """Open a session on the folder."""
        self._session = Session(str(self.folder))
        if "suite" in self._run("SHOW DATABASES")["name"].to_pylist():
            self._execute("USE suite")

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def ask(self, question: str, draw: Draw) -> Any:
        """Run the SQL, fetch Arrow."""
        return _SQL[question](SqlSide(self._run, CLICKHOUSE), draw)

    def _run(self, statement: str) -> pa.Table:
        assert self._session is not None
        answer = self._session.query(statement, "ArrowStream")
        return pa.ipc.open_stream(pa.py_buffer(answer.bytes())).read_all()

    def _execute(self, statement: str) -> None:
        assert self._session is not None
        self._session.query(statement)


def _tags(data: Dataset) -> pd.DataFrame:
    return data.tags.drop(columns="device").assign(id=np.arange(len(data.tags), dtype=np.int32))


def systems(folder: Path) -> list[System]:
    """Return one of each, in a new folder."""
    return [
        Ours(folder / "archive"),
        DuckDb(folder / "duckdb"),
        DuckDbParquet(folder / "duckdb-parquet"),
        ClickHouse(folder / "clickhouse"),
    ]
