"""Rows that could not be stored, kept whole with the reason."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import zarr
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from pipeline.model.rejects import Rejects

__all__ = ["QUARANTINE_SCHEMA", "append_quarantine", "create_quarantine", "read_quarantine"]

_CAPACITY: Final = 1 << 40
_CHUNK: Final = 4096
_TEXTS: Final = ("reason", "record", "source")

QUARANTINE_SCHEMA: Final = pa.schema(
    [
        pa.field("received", pa.timestamp("us", "UTC")),
        *(pa.field(name, pa.string()) for name in _TEXTS),
    ]
)
"""Columns of a quarantine table: when the archive got the row, why it was rejected, the row."""


def create_quarantine(store: Store, fleet: str) -> None:
    """Write the arrays of an empty quarantine."""
    common: dict[str, Any] = {
        "shape": (_CAPACITY,),
        "chunks": (_CHUNK,),
        "compressors": ZstdCodec(level=9, checksum=True),
        "dimension_names": ("rejected_row",),
    }
    for name in _TEXTS:
        path = f"{fleet}/quarantine/{name}"
        zarr.create_array(store, name=path, dtype=str, fill_value="", **common)
    path = f"{fleet}/quarantine/received"
    attributes: dict[str, Any] = {"units": "microseconds since 1970-01-01"}
    zarr.create_array(
        store, name=path, dtype="int64", fill_value=0, attributes=attributes, **common
    )


def append_quarantine(
    store: Store, fleet: str, start: int, rejects: Rejects, received: datetime
) -> None:
    """Store rejected rows at position `start` on.

    Parameters
    ----------
    store
        A transaction's store.
    fleet
        The fleet's name.
    start
        Rows that the quarantine holds already.
    rejects
        The rows.
    received
        When the archive got them, with a timezone.
    """
    if len(rejects) == 0:
        return
    stop = start + len(rejects)
    columns = {
        "reason": rejects.reasons,
        "record": rejects.records,
        "source": (rejects.source,) * len(rejects),
    }
    for name, texts in columns.items():
        array = zarr.open_array(store, path=f"{fleet}/quarantine/{name}", mode="r+")
        array[start:stop] = np.array(texts, dtype=object)
    array = zarr.open_array(store, path=f"{fleet}/quarantine/received", mode="r+")
    array[start:stop] = np.full(len(rejects), int(received.timestamp() * 1e6), np.int64)


def read_quarantine(store: Store, fleet: str, count: int, start: int = 0) -> pa.Table:
    """Return the quarantined rows up to `count`, oldest first; columns as `QUARANTINE_SCHEMA`."""
    columns = [
        zarr.open_array(store, path=f"{fleet}/quarantine/{field.name}", mode="r")[start:count]
        for field in QUARANTINE_SCHEMA
    ]
    arrays = [
        pa.array(np.asarray(column).tolist(), pa.int64() if at == 0 else pa.string())
        for at, column in enumerate(columns)
    ]
    arrays[0] = arrays[0].cast(QUARANTINE_SCHEMA[0].type)
    return pa.Table.from_arrays(arrays, schema=QUARANTINE_SCHEMA)
