"""A fleet of changing schema as plain Python: rows by the version they have, changes as functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipeline.schema.changes import (
    AddChannel,
    Categories,
    Change,
    ChangeDtype,
    ChangeUnits,
    RemoveChannel,
    RenameChannel,
)
from pipeline.schema.channels import Channel

__all__ = ["Batch", "SchemaModel", "Step", "step_for"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A change, what it makes of the channels, and of a row, there and back."""

    change: Change
    dtypes: dict[str, str]
    forward: Callable[[Row], Row]
    backward: Callable[[Row], Row]


def step_for(kind: str, dtypes: dict[str, str], name: str, new: str, extra: Any) -> Step | None:
    """Return a step of some kind on a channel; None if it cannot be."""
    dtype = dtypes.get(name, "")
    if kind == "add" and new not in dtypes:
        kept, default = extra
        after = dtypes | {new: kept}
        change: Change = AddChannel(Channel(new, kept), default=default)
        return Step(change, after, lambda row: row | {new: default}, lambda row: _without(row, new))
    if not dtype:
        return None
    if kind == "remove" and len(dtypes) > 1:
        return Step(
            RemoveChannel(name),
            _without(dtypes, name),
            lambda row: _without(row, name),
            lambda row: row | {name: None},
        )
    if kind == "rename" and new not in dtypes:
        there = {old: new if old == name else old for old in dtypes}
        return Step(
            RenameChannel(name, new),
            {there[old]: one for old, one in dtypes.items()},
            lambda row: {there[old]: value for old, value in row.items()},
            lambda row: {name if now == new else now: value for now, value in row.items()},
        )
    if kind == "widen" and dtype in ("int16", "int32"):
        wider = {"int16": "int32", "int32": "int64"}[dtype]
        return Step(ChangeDtype(name, wider), dtypes | {name: wider}, dict, dict)
    if kind == "units" and dtype == "float64":
        multiply, add, divide = extra
        return Step(
            ChangeUnits(name, new, multiply, add, divide),
            dict(dtypes),
            lambda row: row | {name: _mapped(row[name], multiply, add, divide)},
            lambda row: row | {name: _mapped(row[name], divide, -add, multiply)},
        )
    if kind == "retext" and dtype == "category":
        old, text = extra, f"was {extra} in {len(new)}{new}"
        return Step(
            Categories(name, renamed=((old, text),)),
            dict(dtypes),
            lambda row: row | {name: text if row[name] == old else row[name]},
            lambda row: row | {name: old if row[name] == text else row[name]},
        )
    return None


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {one: value for one, value in row.items() if one != name}


def _mapped(value: float | None, multiply: float, add: float, divide: float) -> float | None:
    return None if value is None else (value * multiply + add) / divide


@dataclass
class Batch:
    """Rows that were written at once, by device and minute."""

    version: int
    rows: list[tuple[str, int, Row]]


@dataclass
class SchemaModel:
    """What a fleet should hold; later batches stand for rows of the same device and time."""

    dtypes: list[dict[str, str]]
    steps: list[Step] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)

    @property
    def latest(self) -> int:
        return len(self.dtypes)

    def evolve(self, step: Step) -> None:
        self.steps.append(step)
        self.dtypes.append(step.dtypes)

    def converted(self, batch: Batch, target: int) -> Batch:
        """Return a batch in another version."""
        rows = []
        for device, minute, row in batch.rows:
            for number in range(batch.version, target):
                row = self.steps[number - 1].forward(row)
            for number in range(batch.version, target, -1):
                row = self.steps[number - 2].backward(row)
            rows.append((device, minute, row))
        return Batch(target, rows)

    def migrate(self, target: int) -> None:
        self.batches = [self.converted(batch, target) for batch in self.batches]

    def table(self, version: int) -> dict[tuple[str, int], Row]:
        """Return all rows in a version, by device and minute."""
        return {
            (device, minute): row
            for batch in self.batches
            for device, minute, row in self.converted(batch, version).rows
        }
