"""What FORMAT.md says of the filters is enough to read what they wrote, alone and in chains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs.zstd import Zstd

from tests.format_reader.filters import undo_bitshuffle, undo_delta, undo_varint

FOLDER = Path(__file__).parents[1] / "golden" / "filters"
MANIFEST: dict[str, dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text())


@pytest.mark.parametrize("name", [name for name, entry in MANIFEST.items() if "codec" in entry])
def test_filters(name: str) -> None:
    entry = MANIFEST[name]
    data, expected = (FOLDER / entry["encoded"]).read_bytes(), np.load(FOLDER / entry["expected"])
    match entry["codec"]:
        case {"id": "iot_archive.delta", "dtype": dtype, "order": order}:
            found = undo_delta(data, np.dtype(dtype), order).tobytes()
        case {"id": "iot_archive.bitshuffle", "elementsize": size}:
            found = undo_bitshuffle(data, size)
        case _:
            values = undo_varint(data)
            assert values.dtype == expected.dtype
            found = values.tobytes()
    assert found == expected.tobytes()


@pytest.mark.parametrize("name", [name for name, entry in MANIFEST.items() if "zarr" in entry])
def test_chains_of_filters_in_an_array(name: str) -> None:
    folder = FOLDER / MANIFEST[name]["zarr"]
    document = json.loads((folder / "zarr.json").read_text())
    dtype, found = np.dtype(document["data_type"]), []
    for at in range(2):
        data: Any = (folder / "c" / str(at)).read_bytes()
        for codec in reversed(document["codecs"]):
            match codec:
                case {"name": "zstd"}:
                    data = bytes(Zstd().decode(data))
                case {"name": "iot_archive.bitshuffle", "configuration": {"elementsize": size}}:
                    data = undo_bitshuffle(data, size)
                case {"name": "iot_archive.varint"}:
                    data = undo_varint(data).tobytes()
                case {"name": "iot_archive.delta", "configuration": {"order": order}}:
                    data = undo_delta(data, dtype, order).tobytes()
                case _:
                    assert codec == {"name": "bytes", "configuration": {"endian": "little"}}
        found.append(data)
    assert b"".join(found) == np.load(FOLDER / MANIFEST[name]["expected"]).tobytes()
