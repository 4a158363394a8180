"""Random evolutions, writes and reads at any version, migrations and rollbacks, against a model."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import pipeline
from pipeline.schema.channels import Channel, Schema
from tests.properties.schema_model import Batch, SchemaModel, step_for
from tests.support import MINUTE, START, memory_archive, minutes

FIRST = {"level": "float64", "count": "int16", "mode": "category"}
NAMES = ["level", "count", "mode", "u", "v", "w"]
TEXTS = ["on", "off", "idle"]
UNITS = [(2.0, 0.0, 1.0), (-1.0, 3.0, 1.0), (1.0, 0.0, 4.0), (3.0, -6.0, 2.0)]

quarters = st.integers(-400, 400).map(lambda number: number / 4)
values: dict[str, Any] = {
    "float64": quarters,
    "category": st.sampled_from(TEXTS),
    **dict.fromkeys(("int16", "int32", "int64"), st.integers(-500, 500)),
}
extras: dict[str, Any] = {
    "add": st.sampled_from(["float64", "int16", "category"]).flatmap(
        lambda dtype: st.tuples(st.just(dtype), st.none() | values[dtype])
    ),
    "units": st.sampled_from(UNITS),
    "retext": st.sampled_from(TEXTS),
}
kinds = st.sampled_from(["add", "remove", "rename", "widen", "units", "retext"])
places = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 200)), min_size=1, max_size=6, unique=True
)


class Schemas(RuleBasedStateMachine):
    """A fleet and its model."""

    @initialize(older=st.sampled_from(["convert", "keep"]))
    def begin(self, older: str) -> None:
        self.archive = memory_archive()
        schema = Schema([Channel(name, dtype) for name, dtype in FIRST.items()])
        scheme = pipeline.Partitioning("1 hour", 2, "1 hour", landing_rows=4)
        self.fleet = self.archive.create_fleet("fleet", schema, scheme)
        self.fleet.set_schema_policies(older=older)
        self.older = older
        self.model = SchemaModel([dict(FIRST)])
        self.undo: tuple[str, list[Batch]] | None = None

    @rule(data=st.data(), kind=kinds)
    def evolve(self, data: st.DataObject, kind: str) -> None:
        dtypes = self.model.dtypes[-1]
        name, new = data.draw(st.sampled_from(sorted(dtypes))), data.draw(st.sampled_from(NAMES))
        step = step_for(kind, dtypes, name, new, data.draw(extras.get(kind, st.none())))
        if step is not None:
            self.fleet.evolve(step.change)
            self.model.evolve(step)

    @rule(data=st.data(), where=places)
    def write(self, data: st.DataObject, where: list[tuple[str, int]]) -> None:
        version = data.draw(st.integers(1, self.model.latest))
        dtypes = self.model.dtypes[version - 1]
        rows = [
            (device, minute, {n: data.draw(st.none() | values[dtypes[n]]) for n in dtypes})
            for device, minute in where
        ]
        columns: dict[str, Any] = {
            "device": [device for device, _, _ in rows],
            "time": minutes(*(minute for _, minute, _ in rows)),
        }
        columns |= {name: [row[name] for _, _, row in rows] for name in dtypes}
        self.fleet.append(columns, schema_version=version)
        batch = Batch(version, rows)
        if self.older == "convert":
            batch = self.model.converted(batch, self.model.latest)
        self.model.batches.append(batch)

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        version = data.draw(st.integers(1, self.model.latest))
        fleet = self.fleet.at_version(version)
        assert {one.name: one.dtype for one in fleet.schema} == self.model.dtypes[version - 1]
        found = {}
        for row in fleet.read().read_all().to_pylist():
            minute = (
                int(np.datetime64(row.pop("time").replace(tzinfo=None), "us").astype(int)) - START
            ) // MINUTE
            found[row.pop("device"), minute] = row
        assert found == self.model.table(version)

    @rule(data=st.data(), every=st.sampled_from([None, "1h"]))
    def aggregate(self, data: st.DataObject, every: str | None) -> None:
        version = data.draw(st.integers(1, self.model.latest))
        table = self.model.table(version)
        if not table:
            return
        asked = {
            name: ["count", "missing", "first", "last"]
            + ([] if dtype == "category" else ["min", "max", "sum", "std"])
            for name, dtype in self.model.dtypes[version - 1].items()
        }
        answer = self.fleet.at_version(version).aggregate(asked, every=every)
        cells: dict[tuple[str, int], list[tuple[int, dict[str, Any]]]] = {}
        for (device, minute), row in sorted(table.items()):
            cells.setdefault((device, minute // 60 if every else 0), []).append((minute, row))
        for (device, hour), rows in cells.items():
            cell = answer.sel(device=device)
            if every:
                cell = cell.sel(time=minutes(hour * 60)[0])
            for name in asked:
                self._compare(cell, name, [row[name] for _, row in rows])

    def _compare(self, cell: Any, name: str, column: list[Any]) -> None:
        some = [value for value in column if value is not None]
        assert int(cell[f"{name}_count"]) == len(some)
        assert int(cell[f"{name}_missing"]) == len(column) - len(some)
        if not some:
            return
        for label, value in (("first", some[0]), ("last", some[-1])):
            assert cell[f"{name}_{label}"].item() == value
        if isinstance(some[0], str):
            return
        assert cell[f"{name}_min"].item() == min(some)
        assert cell[f"{name}_max"].item() == max(some)
        np.testing.assert_allclose(cell[f"{name}_sum"].item(), sum(some), rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(cell[f"{name}_std"].item(), np.std(some), rtol=1e-6, atol=1e-6)

    @rule()
    def compact(self) -> None:
        self.fleet.compact()
        self.undo = None

    @rule(data=st.data())
    def migrate(self, data: st.DataObject) -> None:
        target = data.draw(st.integers(1, self.model.latest))
        done = self.fleet.migrate(target, verify=True)
        self.undo = (done.before, list(self.model.batches))
        self.model.migrate(target)

    @precondition(lambda self: self.undo is not None)
    @rule()
    def roll_back(self) -> None:
        assert self.undo is not None
        snapshot, batches = self.undo
        self.fleet.roll_back_migration(snapshot)
        self.model.batches = batches + self.model.batches[len(batches) :]
        self.undo = None

    def teardown(self) -> None:
        if hasattr(self, "archive"):
            report = self.archive.verify()
            assert report.is_clean, report.problems


TestSchemas = Schemas.TestCase
TestSchemas.settings = settings(
    max_examples=int(os.environ.get("SCHEMA_EXAMPLES", "5")), stateful_step_count=10
)
