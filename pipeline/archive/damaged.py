"""Where repair puts chunks that cannot be read: their bytes as they are, with the reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from pipeline.archive.chunk_io import get_many

__all__ = ["DamagedChunk", "read_damaged", "save_damaged"]

_CAPACITY: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class DamagedChunk:
    """A chunk that was taken out of use.

    Parameters
    ----------
    key
        Where it was.
    reason
        What is wrong with it.
    data
        Its bytes; empty if they are gone.
    """

    key: str
    reason: str
    data: bytes


def save_damaged(store: Store, fleet: str, chunks: Sequence[DamagedChunk]) -> None:
    """Add chunks to a fleet's quarantine, in a transaction."""
    if not chunks:
        return
    if get_many(store, [f"{_path(fleet)}/zarr.json"])[0] is None:
        zarr.create_array(
            store,
            name=_path(fleet),
            shape=(_CAPACITY,),
            chunks=(1,),
            dtype=str,
            fill_value="",
            compressors=ZstdCodec(level=3, checksum=True),
            dimension_names=("damaged_chunk",),
            attributes={"entries": 0},
        )
    array = zarr.open_array(store, path=_path(fleet), mode="r+")
    start: Any = array.attrs["entries"]
    for at, chunk in enumerate(chunks, start):
        text = base64.b64encode(chunk.data).decode()
        array[at] = json.dumps({"key": chunk.key, "reason": chunk.reason, "data": text})
    array.attrs["entries"] = start + len(chunks)


def read_damaged(store: Store, fleet: str) -> list[DamagedChunk]:
    """Return the chunks that repairs took out of use, oldest first."""
    found = get_many(store, [f"{_path(fleet)}/zarr.json"])[0]
    if found is None:
        return []
    entries = json.loads(np.asarray(found).tobytes())["attributes"]["entries"]
    texts: Any = zarr.open_array(store, path=_path(fleet), mode="r")[:entries]
    documents = [json.loads(text) for text in texts.tolist()]
    return [
        DamagedChunk(one["key"], one["reason"], base64.b64decode(one["data"])) for one in documents
    ]


def _path(fleet: str) -> str:
    return f"{fleet}/quarantine/damaged"
