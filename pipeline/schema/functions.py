"""Functions that split a channel or merge several, registered by name and version.

An archive stores which function, of which version, made a channel of others; the code itself is
registered by whoever opens the archive. A version of a function never changes: what it computes is
what earlier readers got.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import AlreadyExistsError, NotFoundError, SchemaError

__all__ = ["ChannelFunction", "channel_function", "computed", "register_function"]

Vectorised = Callable[..., Any]
"""Takes one array a channel, and returns one array, or a sequence of arrays, of the same shape."""


@dataclass(frozen=True, slots=True)
class ChannelFunction:
    """How channels are made of others.

    Numbers come as ``float64``, categories as arrays of texts, and only rows in which none is
    missing. Results are numbers; NaN means missing.

    Parameters
    ----------
    name, version
        Which function it is; versions count from 1.
    forward
        Makes the new channels of the old ones.
    backward
        Makes the old ones of the new ones; None if that is not possible: readers of older versions
        then find the channels missing in newer rows.
    """

    name: str
    version: int
    forward: Vectorised
    backward: Vectorised | None = None


_REGISTERED: Final[dict[tuple[str, int], ChannelFunction]] = {}


def register_function(
    name: str, version: int, forward: Vectorised, backward: Vectorised | None = None
) -> ChannelFunction:
    """Make a function known to this process; see `ChannelFunction`.

    Raises
    ------
    AlreadyExistsError
        If another function has this name and version.
    SchemaError
        If the name is empty or the version not positive.
    """
    if not name or isinstance(version, bool) or version < 1:
        msg = f"a function of channels takes a name and a version from 1, not {name!r}, {version!r}"
        raise SchemaError(msg)
    made = ChannelFunction(name, version, forward, backward)
    known = _REGISTERED.setdefault((name, version), made)
    if known != made:
        msg = f"version {version} of the function {name!r} is registered otherwise; a changed function takes the next version"
        raise AlreadyExistsError(msg)
    return known


def channel_function(name: str, version: int) -> ChannelFunction:
    """Return a registered function.

    Raises
    ------
    NotFoundError
        If this process does not know it.
    """
    try:
        return _REGISTERED[name, version]
    except KeyError:
        msg = (
            f"the schema uses version {version} of the function {name!r}, which this process does not "
            "know; call pipeline.schema.functions.register_function with it before reading"
        )
        raise NotFoundError(msg) from None


def computed(
    function: ChannelFunction, inputs: Sequence[NDArray[Any]], outputs: int, *, back: bool = False
) -> list[NDArray[np.float64]]:
    """Return what a function makes of arrays.

    Raises
    ------
    SchemaError
        If it returns something else than so many arrays of their shape.
    """
    code = function.backward if back else function.forward
    found: Any = () if code is None else code(*inputs)
    parts = [found] if isinstance(found, np.ndarray) and outputs == 1 else list(found)
    arrays = [np.asarray(part, np.float64) for part in parts]
    if len(arrays) != outputs or any(one.shape != inputs[0].shape for one in arrays):
        msg = (
            f"version {function.version} of the function {function.name!r} has to return {outputs} "
            f"arrays of shape {inputs[0].shape}, not {[one.shape for one in arrays]}"
        )
        raise SchemaError(msg)
    return arrays
