"""Verifying and mending what a fleet knows of its devices: ids, tags, lookup, reserved blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.attributes import read_documents
from pipeline.archive.chunk_io import chunk_key, delete_many
from pipeline.archive.device_lookup import add_codes, find_codes
from pipeline.archive.device_registry import DeviceRegistry
from pipeline.archive.fleet_state import FleetState
from pipeline.archive.layout import FleetLayout
from pipeline.archive.stored_chunks import stored_chunks
from pipeline.archive.text_columns import TextReader
from pipeline.archive.verify_report import Problem

__all__ = ["mend_lookup", "wrong_devices", "wrong_lookup"]


def wrong_devices(registry: DeviceRegistry) -> Iterator[Problem]:
    """Yield what is wrong with the stored ids, tags, lookup and reserved blocks of devices.

    Parameters
    ----------
    registry
        The devices of the snapshot that is verified.
    """
    path = registry.layout.devices_path
    try:
        ids, codes = _registered(registry.store, registry.layout, registry.positions)
        registry.tags_of(registry.tag_names, codes)
        reserved = registry.reservations
    except Exception as error:  # Zarr raises many kinds for damaged chunks
        yield Problem("corrupt", path, f"{type(error).__name__}: {error}")
        return
    if len(ids) != len(registry) or len(set(ids)) != len(ids):
        what = f"{len(registry)} devices are counted, {len(set(ids))} are registered"
        yield Problem("counter", registry.layout.state.path, what)
    if reserved is not None and not np.array_equal(reserved.codes(), codes):
        what = "device blocks are said to hold other devices than those that are registered"
        yield Problem("devices", registry.layout.device_blocks.path, what)
    wrong = wrong_lookup(registry, ids, codes)
    if wrong:
        yield Problem("devices", registry.layout.device_lookup.path, wrong)


def wrong_lookup(registry: DeviceRegistry, ids: list[str], codes: NDArray[np.int64]) -> str:
    """Return what is wrong with the lookup of a fleet's devices, an empty text if nothing is.

    Parameters
    ----------
    registry
        The devices.
    ids, codes
        All ids and their codes.
    """
    if not registry.has_lookup:  # registered by a release without one: it is not looked at
        return ""
    try:
        found = find_codes(registry.store, registry.layout.device_lookup, len(registry), ids)
    except Exception as error:  # Zarr raises many kinds for damaged chunks
        return f"{type(error).__name__}: {error}"
    wrong = int(np.count_nonzero(found != codes))
    return f"it leads {wrong} of {len(ids)} devices to other codes than they have" if wrong else ""


def mend_lookup(store: Store, layout: FleetLayout) -> bool:
    """Make the lookup of a fleet's devices anew from their ids, in a transaction.

    Returns
    -------
    bool
        Whether it had to be; an archive of a release without lookups gets none.
    """
    state = FleetState.load(store, layout)
    ids, codes = _registered(store, layout, state.devices)
    table = layout.device_lookup
    if read_documents(store, [table.path])[0] is None:
        return False
    registry = DeviceRegistry(store, layout, replace(state, indexed=len(ids)))
    if state.indexed in (0, len(ids)) and not wrong_lookup(registry, ids, codes):
        if state.indexed == len(ids):
            return False
    else:
        delete_many(store, [chunk_key(table.path, at) for at in stored_chunks(store, table.path)])
        add_codes(store, table, 0, ids, codes)
    replace(state, indexed=len(ids)).save(store, layout)
    return True


def _registered(
    store: Store, layout: FleetLayout, positions: int
) -> tuple[list[str], NDArray[np.int64]]:
    """Return all ids and their codes."""
    texts = TextReader(store, {}).texts([layout.device_ids.path], np.arange(positions))[0]
    codes = np.flatnonzero(texts != "")
    return texts[codes].tolist(), codes
