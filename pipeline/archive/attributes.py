"""Attributes of groups and arrays, several fetched at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from zarr.abc.store import Store

from pipeline.archive.chunk_io import get_many

__all__ = ["read_attributes", "read_documents"]


def read_attributes(store: Store, paths: Sequence[str]) -> list[dict[str, Any] | None]:
    """Return the attributes of groups or arrays; None where there is none."""
    documents = read_documents(store, paths)
    return [None if document is None else document["attributes"] for document in documents]


def read_documents(store: Store, paths: Sequence[str]) -> list[dict[str, Any] | None]:
    """Return the whole metadata of groups or arrays; None where there is none."""
    found = get_many(store, [f"{path}/zarr.json".lstrip("/") for path in paths])
    return [None if data is None else json.loads(np.asarray(data).tobytes()) for data in found]
