"""Kernels are loaded on first use.

Plain Zarr finds our codecs through entry points and imports their modules merely to learn
their names. Importing numba costs 0.3 s and compiling a cold cache several seconds, so the
codec modules import neither: they fetch a kernel when the first buffer arrives.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["kernel"]


@cache
def kernel(module: str, name: str) -> Callable[..., Any]:
    """Return one compiled kernel, importing its module the first time.

    Parameters
    ----------
    module : str
        Name of a module of `pipeline.codecs.kernels`.
    name : str
        Name of the kernel in that module.

    Returns
    -------
    callable
        The kernel; its own docstring says which arrays it takes.
    """
    loaded: Callable[..., Any] = getattr(import_module(f"pipeline.codecs.kernels.{module}"), name)
    return loaded
