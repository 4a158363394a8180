"""What differs between a snapshot and a later one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Differences", "differences_of"]


@dataclass(frozen=True, slots=True)
class Differences:
    """Store keys under which a later snapshot may hold something else.

    Attributes
    ----------
    keys : frozenset of str
        Single ones: those of chunks, and of groups with other attributes.
    prefixes : tuple of str
        All keys that begin with one of these, too: those of arrays and groups that are new or gone,
        and of arrays with other attributes.
    """

    keys: frozenset[str]
    prefixes: tuple[str, ...] = ()

    def touched(self, names: Iterable[str]) -> list[str]:
        """Return those of some names that begin with one of `prefixes`."""
        return [name for name in names if name.startswith(self.prefixes)] if self.prefixes else []


def differences_of(diff: Any) -> Differences | None:
    """Return what an `icechunk.Diff` tells; None if nodes were moved, which may be anything."""
    if diff.moved_nodes:
        return None
    nodes = (
        diff.new_arrays | diff.deleted_arrays | diff.updated_arrays
        | diff.new_groups | diff.deleted_groups
    )  # fmt: skip
    chunks = (
        (path, "c", *map(str, place))
        for path, places in diff.updated_chunks.items()
        for place in places
    )
    # Other attributes of a group say nothing about what is in it.
    groups = ((path, "zarr.json") for path in diff.updated_groups)
    keys = frozenset("/".join(parts).lstrip("/") for parts in (*chunks, *groups))
    return Differences(keys, tuple(f"{path}/".lstrip("/") for path in sorted(nodes)))
