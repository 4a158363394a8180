"""Freed memory that a worker keeps for its next task, where the C library is glibc.

Dask starts workers with a threshold of 64 KiB above which freed memory goes back to the system, and
Arrow gives its own back at once. Every array is then paged in anew: preparing rows took twice as
long, reading them three times, and two workers got in each other's way inside the kernel.

References
----------
glibc: mallopt(3), malloc_trim(3). Dask: "Worker memory management", manually trim memory.
"""

from __future__ import annotations

import ctypes
from typing import Final

import pyarrow as pa

__all__ = ["give_back", "keep_freed_memory"]

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENAS: Final = -8
"""Names of parameters in glibc's malloc.h."""

_MOST_KEPT: Final = 1 << 30
_LARGEST: Final = 1 << 25
"""Bytes of the largest array that is kept: what glibc allows."""


def keep_freed_memory() -> bool:
    """Let the allocator keep up to 1 GiB of what is freed; tell whether it can.

    Arrays above 32 MiB go back to the system as ever. Threads that start from now on share one
    arena, since those of their own are given back as soon as they are empty.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    kept = library.mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
    kept = kept and library.mallopt(_MMAP_THRESHOLD, _LARGEST)
    kept = kept and library.mallopt(_ARENAS, 1)
    pa.set_memory_pool(pa.system_memory_pool())
    return bool(kept)


def give_back() -> bool:
    """Give what is freed back to the system, now; tell whether there was anything."""
    library = ctypes.CDLL(None)
    return bool(hasattr(library, "malloc_trim") and library.malloc_trim(0))
