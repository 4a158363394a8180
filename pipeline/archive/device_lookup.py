"""From device ids to codes without reading the ids: a stored hash table.

Entries are an id's 128-bit hash and its code, in buckets of one chunk each. The number of buckets
follows from the number of devices, and grows by one for every 512 of them (linear hashing): a
bucket that is due is split in two, all others stay as they are. So looking up a device reads one
chunk, and registering one writes one to three, however many there are. Hashes that long differ
whenever ids do, so ids are not compared.

References
----------
W. Litwin, "Linear hashing: a new tool for file and table addressing", VLDB 1980.
RFC 7693, "The BLAKE2 Cryptographic Hash and Message Authentication Code".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.tables import Table

__all__ = ["LOOKUP_CHUNK", "LOOKUP_SHAPE", "add_codes", "find_codes"]

_WORDS: Final = 4
_PER_BUCKET: Final = 512
# Four times what a bucket holds on average, twice what one holds that is due to be split next.
LOOKUP_CHUNK: Final = (1, 2048, _WORDS + 1)
LOOKUP_SHAPE: Final = (1 << 20, 1 << 20, _WORDS + 1)


def find_codes(store: Store, table: Table, devices: int, ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the codes of devices; -1 for those that are not there.

    Parameters
    ----------
    store
        A snapshot's or a transaction's store.
    table
        The fleet's lookup.
    devices
        How many devices it holds.
    ids
        Device ids.
    """
    hashes = _hashes(ids)
    buckets = np.unique(_addresses(hashes, _bucket_count(devices)))
    entries = _load(store, table, buckets.tolist())
    return _match(hashes, np.concatenate([_NONE, *entries.values()]))


def add_codes(
    store: Store, table: Table, devices: int, ids: Sequence[str], codes: NDArray[np.int64]
) -> None:
    """Add devices that are not there yet.

    Parameters
    ----------
    store
        A transaction's store.
    table
        The fleet's lookup.
    devices
        How many devices it holds so far.
    ids, codes
        The new ones; codes below 2**31.
    """
    before, after = _bucket_count(devices), _bucket_count(devices + len(ids))
    new = np.concatenate([_hashes(ids), 1 + codes[:, None].astype(np.uint32)], axis=1)
    touched = set(np.unique(_addresses(new, after)).tolist())
    split = {_origin(bucket, before) for bucket in range(before, after)}
    origins = {_origin(bucket, before) for bucket in touched} | split
    known = _load(store, table, sorted(origins) if devices else [])
    entries = np.concatenate([new, *known.values()])
    addresses = _addresses(entries, after)
    order = np.argsort(addresses, kind="stable")
    changed = sorted(touched | origins | set(range(before, after)))
    edges = np.searchsorted(addresses[order], changed)
    stops = np.searchsorted(addresses[order], changed, "right")
    chunks: dict[tuple[int, ...], NDArray[Any]] = {}
    for bucket, start, stop in zip(changed, edges.tolist(), stops.tolist(), strict=True):
        chunks.update(_chunks(table, bucket, entries[order[start:stop]]))
    table.write(store, chunks)


def _hashes(ids: Sequence[str]) -> NDArray[np.uint32]:
    """Return the 128-bit hash of each id in words, shape (ids, 4)."""
    digests = b"".join(
        blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4 * _WORDS).digest()
        for name in ids
    )
    return np.frombuffer(digests, "<u4").reshape(len(ids), _WORDS).astype(np.uint32)


def _bucket_count(devices: int) -> int:
    return max(1, -(-devices // _PER_BUCKET))


def _addresses(hashes: NDArray[np.uint32], buckets: int) -> NDArray[np.int64]:
    """Return the bucket of each hash among so many: by as many bits as there is a bucket for."""
    bits = (buckets - 1).bit_length()
    low = hashes[:, 0].astype(np.int64)
    full = low & ((1 << bits) - 1)
    return np.where(full < buckets, full, low & ((1 << max(bits - 1, 0)) - 1))


def _origin(bucket: int, buckets: int) -> int:
    """Return which of so many buckets held what a later bucket holds."""
    while bucket >= buckets:
        bucket -= 1 << (bucket.bit_length() - 1)
    return bucket


def _load(store: Store, table: Table, buckets: Iterable[int]) -> dict[int, NDArray[np.uint32]]:
    """Return the entries of buckets, shape (entries, 5) each."""
    found: dict[int, list[NDArray[np.uint32]]] = {bucket: [] for bucket in buckets}
    going_on, depth = list(found), 0
    while going_on:
        chunks = table.read(store, [(bucket, depth, 0) for bucket in going_on])
        for (bucket, _, _), chunk in chunks.items():
            found[bucket].append(chunk[0][chunk[0, :, _WORDS] > 0])
        # A chunk that is full is followed by another, which may be empty.
        going_on = [at for (at, _, _), chunk in chunks.items() if chunk[0, -1, _WORDS] > 0]
        depth += 1
    return {bucket: np.concatenate([_NONE, *parts]) for bucket, parts in found.items()}


def _chunks(
    table: Table, bucket: int, entries: NDArray[np.uint32]
) -> dict[tuple[int, ...], NDArray[Any]]:
    size = table.chunk[1]
    chunks: dict[tuple[int, ...], NDArray[Any]] = {}
    for depth in range(len(entries) // size + 1):
        part = entries[depth * size : (depth + 1) * size]
        chunk = table.blank()
        chunk[0, : len(part)] = part
        chunks[bucket, depth, 0] = chunk
    return chunks


def _match(hashes: NDArray[np.uint32], entries: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the code that the entry of each hash holds; -1 where there is none."""
    wanted, stored = _pairs(hashes), _pairs(entries)
    order = np.argsort(stored[0])
    first = np.searchsorted(stored[0], wanted[0], "left", sorter=order)
    stop = np.searchsorted(stored[0], wanted[0], "right", sorter=order)
    codes = np.full(len(hashes), -1, np.int64)
    # More than one step only if the halves of two hashes are equal.
    for step in range(int((stop - first).max(initial=0))):
        open_ones = np.flatnonzero(first + step < stop)
        entry = order[first[open_ones] + step]
        equal = stored[1][entry] == wanted[1][open_ones]
        codes[open_ones[equal]] = entries[entry[equal], _WORDS].astype(np.int64) - 1
    return codes


def _pairs(hashes: NDArray[np.uint32]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    words = hashes.astype(np.uint64)
    shift = np.uint64(32)
    return words[:, 0] << shift | words[:, 1], words[:, 2] << shift | words[:, 3]


_NONE: Final = np.zeros((0, _WORDS + 1), np.uint32)
