"""Schemas and their changes that several tests use."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.schema.changes import (
    AddChannel,
    Categories,
    Change,
    ChangeDtype,
    ChangeUnits,
    RemoveChannel,
    RenameChannel,
)
from pipeline.schema.channels import Channel, Schema
from pipeline.schema.evolving import evolve
from pipeline.schema.versions import SchemaHistory

__all__ = ["FIRST", "THREE", "history"]

FIRST = Schema(
    [
        Channel("temperature", "float64", units="degF", valid_range=(-40, 212), resolution=0.9),
        Channel("count", "int16"),
        Channel("mode", "category"),
        Channel("open", "bool"),
    ]
)

THREE: tuple[tuple[Change, ...], ...] = (
    (
        AddChannel(Channel("humidity", "float32", units="percent")),
        ChangeUnits("temperature", "degC", 5, -160, 9),
    ),
    (
        ChangeDtype("count", "int64"),
        RenameChannel("mode", "state"),
        Categories("state", renamed=(("on", "running"),)),
        RemoveChannel("open"),
    ),
)


def history(*steps: tuple[Change, ...], first: Schema = FIRST) -> SchemaHistory:
    """Return a history with a version for each step, a day apart."""
    found = SchemaHistory.first(first)
    for at, changes in enumerate(steps):
        moment = datetime(2024, 1, 2 + at, tzinfo=UTC)
        found = evolve(found, changes, author="ann", time=moment, comment=f"step {at}")
    return found
