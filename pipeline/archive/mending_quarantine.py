"""Mending the quarantine: chunks that cannot be read are set aside, and the rows of others stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.chunk_io import chunk_key, delete_many, get_many
from pipeline.archive.damaged import DamagedChunk, save_damaged
from pipeline.archive.quarantine import QUARANTINE_SCHEMA
from pipeline.archive.stored_chunks import stored_chunks

__all__ = ["LOST", "mend_quarantine", "quarantined_rows", "unreadable_quarantine"]

LOST: Final = "lost: the reason of this row was in a damaged chunk"
"""The reason of rows whose own cannot be read any more."""


def quarantined_rows(store: Store, fleet: str) -> int:
    """Return how many rows a quarantine holds, by those of its arrays that can be read."""
    return max(_filled(store, path) for path in _paths(fleet))


def unreadable_quarantine(store: Store, fleet: str) -> list[DamagedChunk]:
    """Return the chunks of a fleet's quarantine that cannot be read, or were lost.

    Parameters
    ----------
    store
        A snapshot's or transaction's store.
    fleet
        The fleet's name.
    """
    found = [one for path in _paths(fleet) for one in _unreadable(store, path)]
    path, known = f"{fleet}/quarantine/reason", {one.key for one in found}
    size = zarr.open_array(store, path=path, mode="r").chunks[0]
    there = {at for (at,) in stored_chunks(store, path)}
    for at in range(-(-quarantined_rows(store, fleet) // size)):
        key = chunk_key(path, (at,))
        if at not in there and key not in known:
            found.append(DamagedChunk(key, "it is not there", b""))
    return found


def mend_quarantine(store: Store, fleet: str) -> None:
    """Set unreadable chunks of a quarantine aside, in a transaction.

    Parameters
    ----------
    store
        The transaction's store.
    fleet
        The fleet's name. Its rows whose reason cannot be read get `LOST` instead.
    """
    found = unreadable_quarantine(store, fleet)
    rows = quarantined_rows(store, fleet)
    delete_many(store, [one.key for one in found])
    save_damaged(store, fleet, found)
    path = f"{fleet}/quarantine/reason"
    reasons = zarr.open_array(store, path=path, mode="r+")
    size = reasons.chunks[0]
    for one in found:
        if one.key.startswith(f"{path}/c/"):
            start = size * int(one.key.removeprefix(f"{path}/c/"))
            stop = min(start + size, rows)
            reasons[start:stop] = np.full(max(stop - start, 0), LOST, dtype=object)


def _paths(fleet: str) -> list[str]:
    return [f"{fleet}/quarantine/{name}" for name in QUARANTINE_SCHEMA.names]


def _filled(store: Store, path: str) -> int:
    """Return up to which row a column has values; 0 if the last of them cannot be read."""
    array = zarr.open_array(store, path=path, mode="r")
    last = max((at for (at,) in stored_chunks(store, path)), default=None)
    if last is None:
        return 0
    size = array.chunks[0]
    try:
        found: Any = array[last * size : (last + 1) * size]
    except Exception:  # Zarr raises many kinds for damaged chunks; other columns tell the same
        return 0
    filled: NDArray[np.int64] = np.flatnonzero(np.asarray(found.tolist(), object).astype(bool))
    return int(last * size + filled[-1] + 1) if len(filled) else 0


def _unreadable(store: Store, path: str) -> Iterator[DamagedChunk]:
    array = zarr.open_array(store, path=path, mode="r")
    size = array.chunks[0]
    for (at,) in stored_chunks(store, path):
        key, data = chunk_key(path, (at,)), b""
        try:
            stored = get_many(store, [key])[0]
            data = b"" if stored is None else stored.tobytes()
            array[at * size : (at + 1) * size]
        except Exception as error:  # Zarr raises many kinds for damaged chunks
            yield DamagedChunk(key, f"{type(error).__name__}: {error}", data)
