"""Names that channels had before: they go on working, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["RenamedChannelWarning", "current_name", "current_names"]


class RenamedChannelWarning(FutureWarning):
    """A channel was asked for under a name that it had in an older version of the schema."""


def current_name(aliases: Mapping[str, str], name: Any, stacklevel: int = 3) -> Any:
    """Return what a channel is called now; anything that is no old name as it is.

    Parameters
    ----------
    aliases
        Old names and new ones.
    name
        A name.
    stacklevel
        Of the warning, as for `warnings.warn`.
    """
    new = aliases.get(name) if isinstance(name, str) else None
    if new is None:
        return name
    warnings.warn(
        f"channel {name!r} is called {new!r} now; the old name works, but say {new!r} from now on",
        RenamedChannelWarning,
        stacklevel=stacklevel + 1,
    )
    return new


def current_names(
    aliases: Mapping[str, str], names: Iterable[Any], stacklevel: int = 3
) -> list[Any]:
    """Return what channels are called now; see `current_name`."""
    return [current_name(aliases, name, stacklevel + 1) for name in names]
