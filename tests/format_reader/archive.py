"""FORMAT.md, "The store" to "Device registry": the rows of a fleet.

Icechunk gives the bytes of a snapshot by key; all else is read here.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from hashlib import blake2b
from math import prod
from typing import Any
from urllib.parse import quote

import icechunk
import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from tests.format_reader.block import read_block

__all__ = ["Archive", "Block"]

type Row = tuple[int, int]
type Chunk = NDArray[Any]


@dataclass(frozen=True)
class Block:
    """A block as the index tells."""

    window: int
    device_block: int
    slot: int
    fields: dict[str, int]


class Archive:
    """One fleet of an archive in a folder, at the newest snapshot."""

    def __init__(self, folder: str, fleet: str) -> None:
        storage = icechunk.local_filesystem_storage(folder)
        self.store = icechunk.Repository.open(storage).readonly_session("main").store
        self.fleet = fleet
        root = self.document("")["attributes"]
        assert (root["format"], root["format_version"]) == ("iot-archive", 1)
        self.attributes = self.document(fleet)["attributes"]
        self.schema = self.document(f"{fleet}/schema")["attributes"]
        self.partitioning = self.attributes["partitioning"]
        generation = self.partitioning.get("generation", 0)
        self.root = f"{fleet}/g{generation}" if generation else fleet

    def get(self, key: str) -> bytes | None:
        buffer = sync(self.store.get(key, default_buffer_prototype()))
        return None if buffer is None else buffer.to_bytes()

    def document(self, path: str) -> dict[str, Any]:
        """Return the ``zarr.json`` of a group or array."""
        found: dict[str, Any] = json.loads(self.get(f"{path}/zarr.json".lstrip("/")) or "{}")
        return found

    def keys(self, path: str) -> list[tuple[int, ...]]:
        """Return which chunks of an array are there."""

        async def listed() -> list[str]:
            return [key async for key in self.store.list_prefix(f"{path}/")]

        prefix = f"{path}/c/"
        chunks = (key.removeprefix(prefix) for key in sync(listed()) if key.startswith(prefix))
        return sorted(tuple(map(int, chunk.split("/"))) for chunk in chunks)

    def table(self, path: str, at: tuple[int, ...]) -> Chunk | None:
        """Return a chunk of an array of blocks."""
        data = self.get(f"{path}/c/" + "/".join(map(str, at)))
        if data is None:
            return None
        document = self.document(path)
        assert document["codecs"] == [{"name": "iot_archive.block"}]
        shape = document["chunk_grid"]["configuration"]["chunk_shape"]
        values, _ = read_block(data)
        chunk = np.full(prod(shape), document["fill_value"], document["data_type"])
        chunk[: len(values)] = values
        return chunk.reshape(shape)

    def texts(self, path: str, at: int) -> list[str]:
        """Return a chunk of an array of texts."""
        data = self.get(f"{path}/c/{at}")
        if data is None:
            return []
        packed = bytes(Zstd().decode(data))
        (count,), place, found = struct.unpack_from("<I", packed), 4, list[str]()
        for _ in range(count):
            (size,) = struct.unpack_from("<I", packed, place)
            found.append(packed[place + 4 : place + 4 + size].decode())
            place += 4 + size
        return found

    def devices(self) -> list[str]:
        """Return the ids by code; the empty text where no device has a code."""
        state = self.table(f"{self.fleet}/state", (0,))
        count = 0 if state is None else int(state[0])
        chunks = (self.texts(f"{self.fleet}/devices/id", at) for at in range(-(-count // 4096)))
        return [text for chunk in chunks for text in chunk][:count]

    def code(self, device: str) -> int | None:
        """Return the code of a device by the lookup."""
        state = self.table(f"{self.fleet}/state", (0,))
        assert state is not None
        buckets = max(1, -(-int(state[4]) // 512))
        digest = blake2b(device.encode(), digest_size=16).digest()
        (word,) = struct.unpack("<I", digest[:4])
        power = 1 << (buckets - 1).bit_length()
        bucket = word % power if word % power < buckets else word % (power // 2)
        depth = 0
        while (chunk := self.table(f"{self.fleet}/devices/lookup", (bucket, depth, 0))) is not None:
            for entry in chunk[0]:
                if entry[4] and entry[:4].astype("<u4").tobytes() == digest:
                    return int(entry[4]) - 1
            if not chunk[0, -1, 4]:
                break
            depth += 1
        return None

    def positions(self) -> dict[str, Any]:
        """Return where sources stand, of which the golden archives have one entry each."""
        attributes = self.document(f"{self.fleet}/positions").get("attributes", {"entries": 0})
        texts = self.texts(f"{self.fleet}/positions", 0)[: attributes["entries"]]
        merged: dict[str, Any] = {}
        for text in texts:
            merged |= json.loads(text)
        return merged

    def blocks(self) -> list[Block]:
        """Return the index: all blocks that are in use."""
        path = f"{self.root}/index/blocks"
        names = self.document(path)["attributes"]["fields"]
        found = []
        for _, window, device_block, slot in self.keys(path):
            chunk = self.table(path, (0, window, device_block, slot))
            assert chunk is not None
            for w, b, s in np.argwhere(chunk[0] > 0).tolist():
                fields = dict(zip(names, chunk[:, w, b, s].tolist(), strict=True))
                place = (8 * window + w, 64 * device_block + b, 8 * slot + s)
                found.append(Block(*place, fields))
        return found

    def used_slots(self) -> dict[int, int]:
        """Return the slots up to the last one in use, by window; -1 where rows were dropped."""
        path = f"{self.root}/index/slots"
        found: dict[int, int] = {}
        for (at,) in self.keys(path):
            chunk = self.table(path, (at,))
            assert chunk is not None
            found |= {16_384 * at + w: int(chunk[w]) for w in np.flatnonzero(chunk).tolist()}
        return found

    def column(self, block: Block, array: str) -> tuple[Chunk, NDArray[np.bool_]]:
        """Return values and validity of a raw array in a block; all missing if it has no chunk."""
        name = quote(array, safe=" ()+,-_")
        name = name if name.strip(".") and not name.startswith("__") else f"%{name}"
        place = f"{block.window}/{block.device_block}/{block.slot}"
        data = self.get(f"{self.root}/raw/{name}/c/{place}")
        rows = block.fields["rows"]
        if data is None:
            return np.zeros(rows), np.zeros(rows, np.bool_)
        values, valid = read_block(data)
        assert len(values) == rows
        return values, valid

    def version(self, number: int) -> dict[str, Any]:
        """Return a version of the schema."""
        (found,) = (one for one in self.schema["versions"] if one["version"] == number)
        return dict(found)

    def rows(self) -> dict[Row, tuple[int, dict[str, Any]]]:
        """Return all rows by device code and time: the version they are stored in, and values.

        Of rows of one device and time the one that was written last is kept: this is for
        fleets whose attribute ``duplicates`` is ``keep_last``.
        """
        assert self.attributes["duplicates"] == "keep_last"
        found = {}

        def written(block: Block) -> tuple[int, int, int]:
            return block.fields["sequence"], block.device_block, block.slot

        for block in sorted(self.blocks(), key=written):
            number = block.fields["schema_version"]
            version = self.version(number)
            columns = {
                channel["name"]: self._values(block, channel, version)
                for channel in version["channels"]
            }
            codes, times = (self.column(block, name)[0] for name in ("device_index", "time"))
            for row, key in enumerate(zip(codes.tolist(), times.tolist(), strict=True)):
                found[key] = (number, {name: values[row] for name, values in columns.items()})
        return dict(sorted(found.items()))

    def _values(self, block: Block, channel: dict[str, Any], version: dict[str, Any]) -> list[Any]:
        array = version.get("arrays", {}).get(channel["name"], channel["name"])
        values, valid = self.column(block, array)
        plain: list[Any] = values.tolist()
        if channel["dtype"] == "bool":
            plain = [value == 1 for value in plain]
        elif channel["dtype"] == "category":
            texts = self.schema["categories"].get(array, [])
            plain = [
                texts[int(code)] if has else None for code, has in zip(plain, valid, strict=True)
            ]
        return [value if has else None for value, has in zip(plain, valid, strict=True)]
