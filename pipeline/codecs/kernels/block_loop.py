"""How the loops behind blocks are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit

__all__ = ["loop"]


def loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` to run without the interpreter lock, kept on disk for later processes.

    With the compiler switched off, the loop runs on NumPy's scalars, which warn where machine
    words silently wrap or become infinite; they are told not to, and compute the same. Divisions
    follow NumPy's rules, because a check for zero keeps a loop from using vector instructions.
    """
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return np.errstate(all="ignore")(function)
    return njit(nogil=True, cache=True, error_model="numpy")(function)
