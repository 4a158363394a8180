"""Moving encoded chunks between a Zarr store and memory, many at a time.

Going through ``zarr.Array`` costs half a millisecond or more for every chunk, so blocks and
tables are fetched and put by key, all at once, and encoded by our own threads. What is written
is what Zarr would have written: plain Zarr reads it back.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import batched, islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest, Store
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import sync

from pipeline.archive.remembering import forgetting, remembered_of
from pipeline.archive.transactions.guarded import GuardedStore
from pipeline.errors import InvalidInputError, NotFoundError

__all__ = [
    "ahead",
    "chunk_key",
    "delete_many",
    "get_many",
    "get_sizes",
    "in_threads",
    "put_many",
    "read_decoded",
    "use_threads",
]

_IN_FLIGHT: Final = 256


def chunk_key(path: str, coordinates: Iterable[int]) -> str:
    """Return the store key of an array's chunk (Zarr v3 default chunk-key encoding)."""
    return f"{path}/c/" + "/".join(map(str, coordinates))


def get_many(
    store: Store, keys: Sequence[str], prefix_bytes: int | None = None
) -> list[NDArray[np.uint8] | None]:
    """Fetch values by key; None where there is none.

    Parameters
    ----------
    store
        Any Zarr store. If it is one that remembers, what is returned is not to be changed.
    keys
        Store keys.
    prefix_bytes
        Fetch only this many leading bytes of each value.
    """
    if not keys:
        return []
    remembered = remembered_of(store)
    if remembered is None:
        return _fetch(store, keys, prefix_bytes)
    return remembered.get_many(
        keys,
        lambda missing: _fetch(store, [keys[at] for at in missing], prefix_bytes),
        "" if prefix_bytes is None else f"[:{prefix_bytes}]",
    )


def _fetch(
    store: Store, keys: Sequence[str], prefix_bytes: int | None
) -> list[NDArray[np.uint8] | None]:
    plain = forgetting(store)
    if not isinstance(plain, GuardedStore):
        return _fetch_each(store, keys, prefix_bytes)
    found = plain.read_files(keys, prefix_bytes)
    missing = [at for at, data in enumerate(found) if data is None]
    fetched = _fetch_each(store, [keys[at] for at in missing], prefix_bytes)
    for at, data in zip(missing, fetched, strict=True):
        found[at] = data
    return found


def _fetch_each(
    store: Store, keys: Sequence[str], prefix_bytes: int | None
) -> list[NDArray[np.uint8] | None]:
    if not keys:
        return []
    prototype = default_buffer_prototype()
    wanted = None if prefix_bytes is None else RangeByteRequest(0, prefix_bytes)

    async def get(key: str) -> Buffer | None:
        return await store.get(key, prototype, wanted)

    async def fetch() -> list[Buffer | None]:
        found: list[Buffer | None] = []
        for group in batched(keys, _IN_FLIGHT):
            found += await asyncio.gather(*map(get, group))
        return found

    buffers: list[Any] = sync(fetch())
    return [None if buffer is None else buffer.as_numpy_array() for buffer in buffers]


def read_decoded(
    store: Store, keys: Sequence[str], decode: Callable[[int, NDArray[np.uint8]], NDArray[Any]]
) -> list[NDArray[Any] | None]:
    """Fetch values by key, and decode them on all cores; None where there is none.

    Parameters
    ----------
    store
        Any Zarr store. If it is one that remembers, arrays are remembered decoded, and read-only.
    keys
        Store keys.
    decode
        Makes an array of a value, given its position among the keys.
    """

    def read(wanted: Sequence[int]) -> list[NDArray[Any] | None]:
        stored = get_many(forgetting(store), [keys[at] for at in wanted])
        work = list(zip(wanted, stored, strict=True))
        return in_threads(lambda item: None if item[1] is None else decode(item[0], item[1]), work)

    remembered = remembered_of(store)
    if remembered is None:
        return read(range(len(keys)))
    return remembered.get_many(keys, read, ", decoded")


def get_sizes(store: Store, keys: Sequence[str]) -> list[int]:
    """Return the sizes of values in bytes by key, without fetching them; 0 where there is none."""

    async def size(key: str) -> int:
        try:
            return await store.getsize(key)
        except (FileNotFoundError, NotFoundError):
            return 0

    async def sizes() -> list[int]:
        found: list[int] = []
        for group in batched(keys, _IN_FLIGHT):
            found += await asyncio.gather(*map(size, group))
        return found

    return sync(sizes()) if keys else []


def put_many(store: Store, items: Mapping[str, bytes]) -> None:
    """Store values by key."""
    from_bytes = default_buffer_prototype().buffer.from_bytes

    async def put() -> None:
        for group in batched(items.items(), _IN_FLIGHT):
            await asyncio.gather(*(store.set(key, from_bytes(value)) for key, value in group))

    if items:
        sync(put())


def delete_many(store: Store, keys: Sequence[str]) -> None:
    """Delete values by key; those that are not there are passed over."""

    async def delete() -> None:
        for group in batched(keys, _IN_FLIGHT):
            await asyncio.gather(*map(store.delete, group))

    if keys:
        sync(delete())


def in_threads[A, B](function: Callable[[A], B], arguments: Sequence[A]) -> list[B]:
    """Apply `function`, which releases the GIL, to every argument on all cores, in order.

    The thread that calls works as well, and every thread takes the next argument that is left: a
    future for each, and waiting for it, took 50 us, as much as decoding 20,000 rows. Where several
    threads call at the same time, such as Dask's, they have the cores to share: more threads than that
    took a twelfth longer. Inside of `function` it is a plain loop: the cores are busy.
    """
    if len(arguments) < 2 or hasattr(_WORKER, "busy") or _cores() == 1:
        return [function(argument) for argument in arguments]
    found: dict[int, B] = {}
    failed: dict[int, BaseException] = {}
    left = iter(range(len(arguments)))

    def work() -> None:
        for at in left:
            try:
                found[at] = function(arguments[at])
            except BaseException as error:
                failed[at] = error
                deque(left, 0)  # nothing more is begun

    with _AT_WORK.take(min(_cores(), len(arguments))) as threads:
        helpers = [_pool().submit(work) for _ in range(threads - 1)]
        _WORKER.busy = True
        try:
            work()
        finally:
            del _WORKER.busy
            for helper in helpers:
                if not helper.cancel():
                    helper.result()
    if failed:
        raise failed[min(failed)]
    return [found[at] for at in range(len(arguments))]


def ahead[A, B](function: Callable[[A], B], arguments: Sequence[A]) -> Generator[B]:
    """Apply `function` like `in_threads`, and yield each result in order as soon as it is there.

    Every core works on one argument and one result waits, so that memory is bounded however
    slowly results are taken.
    """
    if len(arguments) < 2 or hasattr(_WORKER, "busy"):
        yield from map(function, arguments)
        return
    left = iter(arguments)
    running = deque(_pool().submit(function, argument) for argument in islice(left, _cores() + 1))
    try:
        while running:
            yield running.popleft().result()
            running.extend(_pool().submit(function, argument) for argument in islice(left, 1))
    finally:
        for future in running:
            future.cancel()


class _AtWork:
    """How many threads of this process are at work in `in_threads`."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    @contextmanager
    def take(self, most: int) -> Iterator[int]:
        """Count in as many threads as there are cores left, at least the one that calls."""
        with self._lock:
            taken = max(1, min(most, _cores() - self._count))
            self._count += taken
        try:
            yield taken
        finally:
            with self._lock:
                self._count -= taken


_AT_WORK: Final = _AtWork()
_WORKER: Final = threading.local()


def _start_worker() -> None:
    _WORKER.busy = True


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), "iot-archive", initializer=_start_worker)


def use_threads(count: int | None) -> None:
    """Let `in_threads` and `ahead` use so many threads in this process; None for all cores.

    For processes that share a machine, such as the workers of a cluster.

    Raises
    ------
    InvalidInputError
        If the count is not positive.
    """
    if count is not None and count < 1:
        msg = f"{count} threads cannot work; use 1 or more, or None for all cores"
        raise InvalidInputError(msg)
    _LIMIT.clear()
    _LIMIT.extend([] if count is None else [count])
    _pool.cache_clear()


_LIMIT: Final[list[int]] = []


def _cores() -> int:
    return _LIMIT[0] if _LIMIT else len(os.sched_getaffinity(0))
