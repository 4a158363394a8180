"""Positions of sources, kept in the archive so that they outlive the history.

Commits carry positions in their metadata, which is gone once their snapshot expires. The same
transaction therefore writes them down here: one text of JSON for every commit that has some. Read
together in order they give where each source stands: mappings are merged key by key, lists are
united, and of anything else the latest counts. `fold_positions` makes one text of all.

In an archive that was written before positions were kept here, the older ones are in the history
alone, until `adopt_positions` writes them down. The attribute ``complete`` tells which it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from pipeline.archive.chunk_io import get_many
from pipeline.archive.transactions import Commit, Repository

__all__ = [
    "adopt_positions",
    "append_positions",
    "create_positions",
    "fold_positions",
    "merge_positions",
    "positions_of",
    "read_positions",
]

_CAPACITY: Final = 1 << 32
_CHUNK: Final = 32
_FOLD_ABOVE: Final = 256


def create_positions(store: Store, fleet: str, *, complete: bool = True) -> None:
    """Write an empty log of positions.

    Parameters
    ----------
    store
        A transaction's store.
    fleet
        The fleet's name.
    complete
        Whether no earlier commit of the fleet has positions.
    """
    zarr.create_array(
        store,
        name=_path(fleet),
        shape=(_CAPACITY,),
        chunks=(_CHUNK,),
        dtype=str,
        fill_value="",
        compressors=ZstdCodec(level=3, checksum=True),
        dimension_names=("commit",),
        attributes={"entries": 0, "complete": complete},
    )


def append_positions(store: Store, fleet: str, positions: Mapping[str, Any]) -> None:
    """Write down the positions of a commit, in its transaction."""
    if not positions:
        return
    if _attributes(store, fleet) is None:
        create_positions(store, fleet, complete=False)
    log = zarr.open_array(store, path=_path(fleet), mode="r+")
    entries = int(log.attrs["entries"])  # type: ignore[arg-type]
    log[entries] = _text(positions)
    log.attrs["entries"] = entries + 1


def read_positions(store: Store, fleet: str) -> tuple[dict[str, Any], bool]:
    """Return the positions written down, merged, and whether there are none beside them.

    Returns
    -------
    tuple
        Positions by source; False if commits made before may have others.
    """
    attributes = _attributes(store, fleet)
    if attributes is None:
        return {}, False
    log = zarr.open_array(store, path=_path(fleet), mode="r")
    texts: Any = log[: attributes["entries"]]
    merged = merge_positions(json.loads(text) for text in texts.tolist())
    return merged, bool(attributes["complete"])


def fold_positions(store: Store, fleet: str) -> bool:
    """Make one entry of all, if there are many; return whether there were."""
    attributes = _attributes(store, fleet)
    if attributes is None or attributes["entries"] <= _FOLD_ABOVE:
        return False
    merged, complete = read_positions(store, fleet)
    _rewrite(store, fleet, merged, attributes["entries"], complete)
    return True


def adopt_positions(store: Store, fleet: str, history: Iterable[Commit]) -> bool:
    """Write down what only the history knows, before it is forgotten; return if there was need.

    Parameters
    ----------
    store
        A transaction's store.
    fleet
        The fleet's name.
    history
        Commits, newest first.
    """
    known, complete = read_positions(store, fleet)
    if complete:
        return False
    attributes = _attributes(store, fleet)
    if attributes is None:
        create_positions(store, fleet)
    older = _of_history(history, fleet)
    entries = 0 if attributes is None else attributes["entries"]
    _rewrite(store, fleet, merge_positions([older, known]), entries, True)
    return True


def positions_of(repository: Repository, fleet: str) -> dict[str, Any]:
    """Return where every source of a fleet stands, wherever that is written down."""
    known, complete = read_positions(repository.snapshot().store, fleet)
    if complete:
        return known
    return merge_positions([_of_history(repository.history(), fleet), known])


def merge_positions(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return positions merged, the oldest first."""
    merged: dict[str, Any] = {}
    for entry in entries:
        _merge(merged, entry)
    return _plain(merged)


class _Union(dict[str, Any]):
    """A list that is being united with others: its values by their text."""


def _merge(into: dict[str, Any], entry: Mapping[str, Any]) -> None:
    for key, value in entry.items():
        old = into.get(key)
        if isinstance(value, Mapping):
            if type(old) is not dict:
                old = into[key] = {}
            _merge(old, value)
        elif isinstance(value, list | tuple):
            if not isinstance(old, _Union):
                old = into[key] = _Union()
            old.update((_text(one), one) for one in value)
        else:
            into[key] = value


def _plain(merged: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: list(value.values())
        if isinstance(value, _Union)
        else _plain(value)
        if isinstance(value, dict)
        else value
        for key, value in merged.items()
    }


def _of_history(history: Iterable[Commit], fleet: str) -> dict[str, Any]:
    own = (c.metadata for c in history if c.metadata.get("fleet") == fleet)
    found = [metadata["positions"] for metadata in own if metadata.get("positions")]
    return merge_positions(reversed(found))


def _rewrite(
    store: Store, fleet: str, positions: Mapping[str, Any], entries: int, complete: bool
) -> None:
    log = zarr.open_array(store, path=_path(fleet), mode="r+")
    texts = [_text(positions)] if positions else []
    if entries > len(texts):
        # Chunks that hold nothing but the fill value are removed.
        log[len(texts) : entries] = np.full(entries - len(texts), "", dtype=object)
    if texts:
        log[0] = texts[0]
    log.attrs.update({"entries": len(texts), "complete": complete})


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _path(fleet: str) -> str:
    return f"{fleet}/positions"


def _attributes(store: Store, fleet: str) -> dict[str, Any] | None:
    found = get_many(store, [f"{_path(fleet)}/zarr.json"])[0]
    if found is None:
        return None
    attributes: dict[str, Any] = json.loads(np.asarray(found).tobytes())["attributes"]
    return attributes
