"""Which version of the schema each row of a batch has, as the row or its device tells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.archive.fleet_view import FleetView
from pipeline.archive.older_rows import SCHEMA_CONFLICT
from pipeline.model.arrow_arrays import flat
from pipeline.model.rejects import Rejects
from pipeline.schema.row_documents import row_documents

__all__ = ["Tags", "split_by_version"]

Tags = Mapping[str, Mapping[str, str]]


def split_by_version(
    table: pa.Table, view: FleetView, tags: Tags, source: str, untold: int | None = None
) -> tuple[list[tuple[int, pa.Table]], Rejects]:
    """Return the rows of each version, and those that say a version that there is not.

    A row's own word goes before its device's; rows of which nothing is told have `untold`.

    Parameters
    ----------
    table
        The batch.
    view
        The fleet, whose policies name the column and the tag.
    tags
        Tags that are set along with the batch.
    source
        Where the rows come from, for the rejects.
    untold
        The version of rows of which nothing is told; None for the newest.

    Returns
    -------
    tuple
        Versions and rows, at least one, oldest first, without the column that tells the version and without
        columns that have no value in these rows; and the rows of unknown versions.
    """
    policies, history = view.meta.policies, view.meta.history
    told = _texts(table, policies.version_field)
    if policies.version_tag and "device" in table.column_names:
        devices = _texts(table, "device")
        by_device = _tagged(view, policies.version_tag, devices, tags)
        told = np.where(told == "", by_device, told)
    otherwise = history.newest if untold is None else untold
    numbers = {str(number): number for number in history.numbers} | {"": otherwise}
    versions = np.array([numbers.get(text, 0) for text in told.tolist()], np.int64)
    kept = [name for name in table.column_names if name != policies.version_field]
    groups = [
        (number, _with_values(table.filter(pa.array(versions == number)).select(kept)))
        for number in np.unique(versions[versions > 0]).tolist()
    ]
    if not groups:
        nothing = ["device", "time"]
        groups = [(otherwise, table.slice(0, 0).select([n for n in kept if n in nothing]))]
    return groups, _of_unknown_versions(table, told, versions == 0, view, source)


def _texts(table: pa.Table, name: str) -> NDArray[np.object_]:
    """Return a column as texts, empty where there is no value; whole numbers without a point."""
    if not name or name not in table.column_names:
        return np.full(table.num_rows, "", object)
    column = flat(table[name])
    if pa.types.is_floating(column.type):
        column = pc.cast(column, pa.int64(), safe=False)
    found: NDArray[np.object_] = np.array(
        pc.fill_null(pc.cast(column, pa.string()), "").to_pylist(), dtype=object
    )
    return found


def _tagged(
    view: FleetView, tag: str, devices: NDArray[np.object_], tags: Tags
) -> NDArray[np.object_]:
    registry = view.registry
    names = list(dict.fromkeys(devices.tolist()))
    codes = registry.find(names)
    known = dict.fromkeys(names, "")
    if tag in registry.tag_names and (codes >= 0).any():
        some = np.unique(codes[codes >= 0])
        values = dict(zip(some.tolist(), registry.tags_of([tag], some)[tag].tolist(), strict=True))
        known |= {
            n: values[code] for n, code in zip(names, codes.tolist(), strict=True) if code >= 0
        }
    known |= {name: one[tag] for name, one in tags.items() if name in known and tag in one}
    return np.array([known[name] for name in devices.tolist()], dtype=object)


def _with_values(table: pa.Table) -> pa.Table:
    """Return a table without columns that have no value: rows of other versions brought them."""
    return table.select(
        [
            name
            for name in table.column_names
            if name in ("device", "time") or table[name].null_count < table.num_rows
        ]
    )


def _of_unknown_versions(
    table: pa.Table,
    told: NDArray[np.object_],
    unknown: NDArray[np.bool_],
    view: FleetView,
    source: str,
) -> Rejects:
    rows = np.flatnonzero(unknown)
    numbers = view.meta.history.numbers
    records = row_documents(table.take(pa.array(rows, pa.int64())))
    reasons = tuple(
        f"{SCHEMA_CONFLICT}: there is no version {told[row]!r}; there are {numbers.start} to {numbers[-1]}"
        for row in rows.tolist()
    )
    return Rejects(records, reasons, source)
