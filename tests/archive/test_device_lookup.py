"""The stored hash table of devices answers as a dictionary does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from pipeline.archive import device_lookup
from pipeline.archive.device_lookup import add_codes, find_codes
from pipeline.archive.layout import FleetLayout
from pipeline.partitioning.scheme import Partitioning
from tests.support import CountingStore

TABLE = FleetLayout("fleet", Partitioning()).device_lookup


def filled(batches: Iterable[list[str]]) -> tuple[CountingStore, dict[str, int]]:
    store, known = CountingStore(MemoryStore()), dict[str, int]()
    TABLE.create(store)
    for batch in batches:
        new = {name: len(known) + at for at, name in enumerate(batch)}
        add_codes(store, TABLE, len(known), list(new), np.array(list(new.values()), np.int64))
        known |= new
    return store, known


def named(*sizes: int) -> list[list[str]]:
    edges = np.cumsum([0, *sizes]).tolist()
    return [[f"d{at}" for at in range(a, b)] for a, b in pairwise(edges)]


@pytest.mark.parametrize("small", [True, False])
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_every_device_is_found_however_they_were_added(small: bool, sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_lookup, "_PER_BUCKET", 3 if small else 512)
        store, known = filled(named(*sizes))
        found = find_codes(store, TABLE, len(known), [*known, "x", "", "\ud800"])
    assert found.tolist() == [*known.values(), -1, -1, -1]


def test_many_devices_take_few_chunks() -> None:
    store, known = filled(named(20_000, 1, 5000))
    store.forget()
    assert find_codes(store, TABLE, len(known), ["d12345"]).tolist() == [12345]
    assert len(store.reads) == 1
    store.forget()
    add_codes(store, TABLE, len(known), ["new"], np.array([len(known)], np.int64))
    assert len(store.reads) <= 3
    assert find_codes(store, TABLE, len(known) + 1, ["new", "d7"]).tolist() == [len(known), 7]


class _Colliding:
    """A hash of which all but the last words are equal."""

    def __init__(self, data: bytes, digest_size: int) -> None:
        self._data = hashlib.blake2b(data, digest_size=digest_size).digest()

    def digest(self) -> bytes:
        return bytes(12) + self._data[12:]


def test_devices_whose_hashes_begin_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_lookup, "blake2b", _Colliding)
    # All go to one bucket, whose first chunk is full, then its second.
    store, known = filled(named(2000, 48, 1, 2047, 100))
    found = find_codes(store, TABLE, len(known), [*known, "x"])
    assert found.tolist() == [*known.values(), -1]
