"""How the loops behind blocks are compiled.

Compiling takes tens of milliseconds for every function, so a loop that only other loops call
(`part`) gets no door for Python, and is kept on disk only inside its callers. Two habits save
more: constants are handed on as machine numbers, since a bare ``3`` compiles another copy of what
it is handed to, and slices are filled row by row, since assigning to one compiles how its error
would be worded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import config, njit
from numba.core.compiler_lock import global_compiler_lock

__all__ = ["loop", "part", "wide_loop"]


def loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` to run without the interpreter lock, kept on disk for later processes.

    With the compiler switched off, the loop runs on NumPy's scalars, which warn where machine
    words silently wrap or become infinite; they are told not to, and compute the same. Divisions
    follow NumPy's rules, because a check for zero keeps a loop from using vector instructions.
    """
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return np.errstate(all="ignore")(function)
    compiled = _njit(cache=True, no_cfunc_wrapper=True)(function)
    # What is kept holds the parts, too: it is only good for the sources of all of them.
    compiled._cache._cache_file._source_stamp = _stamp()
    return compiled


def wide_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` as `loop` does, and handle statements alike at once where that pays.

    LLVM calls it superword-level parallelism; numba leaves it off, and a function has no option
    for it, so it is switched on for everybody while this one is compiled.
    """
    compiled: Any = loop(function)
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return compiled
    narrow = compiled.compile

    def compile_wide(signature: Any) -> Any:
        with global_compiler_lock:
            before = config.SLP_VECTORIZE  # type: ignore[attr-defined]
            config.SLP_VECTORIZE = 1  # type: ignore[attr-defined]
            try:
                return narrow(signature)
            finally:
                config.SLP_VECTORIZE = before  # type: ignore[attr-defined]

    compiled.compile = compile_wide
    return compiled


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` as a part of the loops that call it."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return function
    return _njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def _njit(**options: bool) -> Any:
    return njit(nogil=True, error_model="numpy", **options)  # type: ignore[call-overload]


@cache
def _stamp() -> bytes:
    """Return a checksum of the sources of all loops."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).digest()
