"""How much memory a process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["memory_size"]

_LIMITS: Final = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_size(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process may use: of the machine, or of its container if it is in one.

    Parameters
    ----------
    root
        Of the file system, where Linux tells the limits of control groups.

    Returns
    -------
    int or None
        None where the system does not tell.

    References
    ----------
    Linux kernel documentation, Control Group v2, ``memory.max``; v1, ``memory.limit_in_bytes``.
    """
    told = []
    with suppress(AttributeError, ValueError, OSError):
        told.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in _LIMITS:
        with suppress(OSError, ValueError):  # "max" stands for none
            told.append(int((root / name).read_text()))
    return min((size for size in told if size > 0), default=None)
