"""Chunks in a local folder are read as files, and by the storage library where that does not work."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.abc.store import Store

from pipeline.archive.chunk_io import get_many, put_many
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository, chunk_files, chunk_refs
from pipeline.archive.transactions.chunk_refs import BATCH, Batch, ChunkRefs, places_of
from pipeline.archive.transactions.file_reads import read_files
from pipeline.archive.transactions.guarded import GuardedStore
from pipeline.errors import CorruptBlockError

COUNT = 200
MORE = range(100_000, 100_060)
"""Windows without chunks, so many that a listing is worth its time."""


def content(at: int) -> bytes:
    """Return the chunk of a window: every third is small enough to be inlined."""
    size = 40 if at % 3 == 0 else 2000 + at
    return bytes([at % 256]) * size


def keys_of(windows: Sequence[int], array: str = "raw/t") -> list[str]:
    return [f"{array}/c/{window}/0" for window in windows]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr(chunk_refs, "_STAKE_S", 10.0)  # however busy the machine is
    made = Repository.create(Location.parse(tmp_path / "x"))

    def change(store: Store) -> None:
        for name in ("raw/t", "raw/c"):
            zarr.create_array(
                store,
                name=name,
                shape=(10_000, 10),
                chunks=(1, 1),
                dtype="int8",
                dimension_names=["window", "device_block"],
            )
        put_many(store, {key: content(at) for at, key in enumerate(keys_of(range(COUNT)))})
        put_many(store, dict.fromkeys(keys_of(range(3), "raw/c"), b"c"))

    made.commit(change, "chunks")
    return made


def guarded(repository: Repository) -> GuardedStore:
    store = repository.snapshot().store
    assert isinstance(store, GuardedStore)
    return store


def files_of(repository: Repository) -> list[Path]:
    folder = Path(repository.location.path) / "chunks"
    return sorted(folder.iterdir(), key=lambda file: file.stat().st_size)


@pytest.mark.parametrize("prefix", [None, 8, 100])
def test_what_is_read_is_what_was_written(repository: Repository, prefix: int | None) -> None:
    store = guarded(repository)
    keys = keys_of(range(COUNT))[::-1]
    found = store.read_files(keys, prefix)
    expected = [content(at)[:prefix] for at in range(COUNT)][::-1]
    assert [None if one is None else one.tobytes() for one in found] == expected
    assert not any(one.flags.writeable for one in found if one is not None)


def test_what_is_no_chunk_or_not_there_is_left_to_the_library(repository: Repository) -> None:
    store = guarded(repository)
    others = [
        "raw/t/zarr.json",
        "raw/c/zarr.json",
        *keys_of([COUNT, 9_999]),
        "raw/t/c/1",
        "raw/t/c/-1/0",
        "raw/t/c/1/0/x",
    ]
    keys = [*keys_of(range(COUNT)), *keys_of(range(3), "raw/c")]
    assert all(one is None for one in store.read_files([*others, *keys_of(range(COUNT))][:7]))
    found = get_many(store, [*keys, *others[:4]])
    assert [one.tobytes() for one in found[:COUNT] if one is not None] == [
        *map(content, range(COUNT))
    ]
    assert [one.tobytes() for one in found[COUNT : COUNT + 3] if one is not None] == [b"c"] * 3
    assert found[COUNT + 3] is not None
    assert found[COUNT + 5 :] == [None, None]
    # Neither places with other numbers of dimensions nor numbers that are none.
    assert store.read_files(keys_of(range(60)) + others[4:5]) == [None] * 61
    assert store.read_files(others[5:6] * 60) == [None] * 60


def test_few_chunks_are_not_worth_a_listing_unless_many_ask_for_few(repository: Repository) -> None:
    store = guarded(repository)
    assert store.read_files(keys_of(range(20))) == [None] * 20
    assert store.read_files(keys_of(range(20, 40))) == [None] * 20
    found = store.read_files(keys_of(range(40, 60)))
    assert [one.tobytes() for one in found if one is not None] == [*map(content, range(40, 60))]
    (one,) = store.read_files(keys_of([5]))
    assert one is not None
    assert one.tobytes() == content(5)
    # It paid, and goes on for as few as come next.
    assert all(one is not None for one in store.read_files(keys_of([60, 120])))
    assert store.read_files(keys_of([COUNT])) == [None]
    assert store.read_files(keys_of([COUNT])) == [None]


def test_a_listing_is_bounded(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_files, "_LISTED_BYTES", 0)
    store = guarded(repository)
    assert store.read_files(keys_of(range(COUNT))) == [None] * COUNT
    assert all(one is not None for one in get_many(store, keys_of(range(COUNT))))


def test_a_file_that_is_gone_is_an_error_as_ever(repository: Repository) -> None:
    store = guarded(repository)
    keys = keys_of(range(COUNT))
    get_many(store, keys)
    files_of(repository)[0].unlink()
    assert [at for at, one in enumerate(store.read_files(keys)) if one is None] == [1]
    with pytest.raises(CorruptBlockError, match=r"raw/t/c/1/0: .* the file that held it is gone"):
        get_many(store, keys)


def test_a_file_that_is_shorter_is_left_to_the_library(repository: Repository) -> None:
    store = guarded(repository)
    keys = keys_of(range(COUNT))
    os.truncate(files_of(repository)[0], 1000)
    assert store.read_files(keys)[1] is None
    whole = get_many(store, keys)[1]  # for whoever decodes it to refuse
    assert whole is not None
    assert whole.tobytes() == content(1)[:1000]
    prefix = get_many(store, keys, 900)[1]
    assert prefix is not None
    assert prefix.tobytes() == content(1)[:900]


def test_a_listing_that_fails_is_left_to_the_library(repository: Repository) -> None:
    for file in (Path(repository.location.path) / "manifests").iterdir():
        file.unlink()
    store = guarded(Repository.open(repository.location))
    assert store.read_files(keys_of(range(COUNT))) == [None] * COUNT


def test_only_snapshots_in_a_folder_have_files(repository: Repository) -> None:
    memory = Repository.create(Location.parse("memory://chunk-files"))
    assert guarded(memory)._files is None
    written: list[Store] = []

    def change(store: Store) -> list[str]:
        written.append(store)
        put_many(store, dict.fromkeys(keys_of(range(COUNT)), b"new"))
        return [
            one.tobytes().decode()
            for one in get_many(store, keys_of(range(COUNT)))
            if one is not None
        ]

    assert repository.commit(change, "other chunks")[1] == ["new"] * COUNT
    assert all(isinstance(store, GuardedStore) and store._files is None for store in written)
    transaction = repository.begin()
    assert isinstance(transaction.store, GuardedStore)
    assert transaction.store._files is None


def test_a_store_travels_without_its_listing(repository: Repository) -> None:
    store = guarded(repository)
    keys = keys_of(range(COUNT))
    before = len(pickle.dumps(store))
    found = store.read_files(keys)
    data = pickle.dumps(store)
    assert len(data) == before
    again = pickle.loads(data)
    assert again.read_files(keys[:1]) == [None]
    assert [one.tobytes() for one in again.read_files(keys)] == [
        one.tobytes() for one in found if one is not None
    ]


class Clock:
    """Seconds that pass when chunks are listed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.listed = 0

    def __call__(self) -> float:
        return self.now

    def batches(self, count: int, seconds: float) -> Iterator[Batch]:
        """List the chunks of windows in a row, each batch in so many seconds."""
        for start in range(0, count, BATCH):
            self.now += seconds
            self.listed = min(count, start + BATCH)
            yield batch(range(start, self.listed))


def batch(windows: Sequence[int], kind: int = 1, offset: int = 0) -> Batch:
    size = len(windows)
    return (
        np.array([[window, 0] for window in windows], np.uint32),
        np.full(size, kind, np.uint8),
        [f"{window:020}" for window in windows],
        np.full(size, offset, np.uint64),
        np.array(windows, np.uint64),
        {at: bytes([at]) for at in range(size)} if kind == 3 else {},
    )


def places(windows: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.bytes_]]:
    return places_of([[window, 0] for window in windows])


def test_a_listing_that_brings_nothing_stops_and_goes_on_later() -> None:
    clock = Clock()
    refs = ChunkRefs(clock.batches(100_000, 1e-3), clock)
    wanted = places(range(99_000, 99_300))
    assert refs.find(wanted, listing=True) == [None] * 300
    once = clock.listed
    assert 0 < once < 1000
    assert refs.find(wanted, listing=False) == [None] * 300
    assert clock.listed == once
    for _ in range(2000):
        if None not in refs.find(wanted, listing=True):
            break
    assert 99_300 <= clock.listed < 99_300 + BATCH
    assert refs.find(wanted[:1], listing=False) == [(b"%020d" % 99_000, 99_000)]


def test_a_listing_that_finds_what_is_wanted_goes_on() -> None:
    clock = Clock()
    refs = ChunkRefs(clock.batches(100_000, 1e-3), clock)
    assert None not in refs.find(places(range(0, 5000, 2)), listing=True)
    assert 5000 <= clock.listed < 5000 + BATCH
    assert len(refs) == clock.listed
    assert refs.nbytes < 100 * len(refs)


def test_a_listing_in_another_order_ends() -> None:
    ordered = batch(range(10, 20))
    refs = ChunkRefs(iter([ordered, batch(range(5, 10)), batch(range(30, 40))]), Clock())
    found = refs.find(places([7, 10, 35, *MORE]), listing=True)[:3]
    assert found == [None, (b"%020d" % 10, 10), None]
    assert refs.find(places([35, *MORE]), listing=True)[0] is None
    refs = ChunkRefs(iter([batch([3, 2])]), Clock())
    assert refs.find(places([2, *MORE]), listing=True)[0] is None


def test_only_whole_files_and_inlined_chunks_are_known() -> None:
    refs = ChunkRefs(
        iter([batch([1], offset=4), batch([2], kind=2), batch([3], kind=3), batch([4])]),
        Clock(),
    )
    found = refs.find(places([1, 2, 3, 4, 5, *MORE]), listing=True)[:5]
    assert found == [None, None, b"\0", (b"%020d" % 4, 4), None]
    assert ChunkRefs(iter([]), Clock()).find(places([1, *MORE]), listing=True)[0] is None


@given(st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 3), min_size=1))
def test_places_sort_like_coordinates(coordinates: list[tuple[int, int, int]]) -> None:
    found = places_of(coordinates)
    assert len(set(found.tolist())) == len(set(coordinates))
    order = np.argsort(found, kind="stable")
    assert [coordinates[at] for at in order] == sorted(coordinates)


def test_files_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    (tmp_path / "folder").mkdir()
    names = [("a", 10), ("a", 4), ("a", 11), ("gone", 1), ("folder", 5), ("a", 0)]
    found = read_files([(os.fsencode(tmp_path / name), size) for name, size in names])
    read = [None if one is None else one.tobytes() for one in found]
    assert read == [b"0123456789", b"0123", None, None, None, b""]


@pytest.mark.parametrize("failure", [errno.EAGAIN, errno.EOPNOTSUPP])
def test_files_are_read_whether_they_are_in_memory_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    files = []
    for at in range(150):
        (tmp_path / str(at)).write_bytes(bytes([at]) * 100)
        files.append((os.fsencode(tmp_path / str(at)), 100))
    preadv, refused = os.preadv, []

    def read(file: int, buffers: list[np.ndarray], offset: int, flags: int) -> int:
        if flags:
            refused.append(file)
            raise OSError(failure, "not now")
        return preadv(file, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", read)
    before = len(os.listdir("/proc/self/fd"))
    found = read_files(files)
    assert [one.tobytes() for one in found if one is not None] == [
        bytes([at]) * 100 for at in range(150)
    ]
    assert len(refused) == 150
    assert len(os.listdir("/proc/self/fd")) == before
