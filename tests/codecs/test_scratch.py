"""Memory is used again only once nobody holds it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.codecs import scratch

SIZE = 1 << 15


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_used_again() -> None:
    first = scratch.empty(SIZE, np.int64)
    place = address(first)
    del first
    again = scratch.empty(SIZE - 7, np.int64)
    assert address(again) == place
    assert again.shape == (SIZE - 7,)
    assert again.flags.carray


def test_memory_that_is_held_is_not() -> None:
    arrays = [scratch.empty(SIZE, np.int64) for _ in range(20)]
    for number, array in enumerate(arrays):
        array.fill(number)
    parts = [array[5:].view(np.uint8) for array in arrays]
    del arrays, array
    others = [scratch.empty(SIZE, np.int64) for _ in range(20)]
    for other in others:
        other.fill(-1)
    assert [int(part[0]) for part in parts] == list(range(20))


def test_small_and_huge_arrays_are_new() -> None:
    for size in (0, 1, 100, 1 << 22):
        array = scratch.empty(size, np.float64)
        assert array.shape == (size,)
        assert array.dtype == np.float64
        assert array.base is None


def test_threads_have_their_own() -> None:
    mine = scratch.empty(SIZE, np.int64)
    mine.fill(7)
    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(scratch.empty, SIZE, np.int64).result()
    theirs.fill(8)
    assert address(theirs) != address(mine)
    assert int(mine[0]) == 7
