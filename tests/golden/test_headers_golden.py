"""Headers and pieces that earlier releases wrote are still read, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.codecs.block import HEADER_BYTES, decode_block, read_header, read_pieces
from pipeline.codecs.frame import DTYPES
from pipeline.codecs.statistics import PIECE_ROWS
from tests.codecs.block_columns import same_bits
from tests.golden.make_headers import FOLDER, add_missing, header_cases, plain

MANIFEST: dict[str, dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text())


@pytest.mark.parametrize("name", MANIFEST)
def test_old_headers_say_the_same(name: str) -> None:
    block = (FOLDER / MANIFEST[name]["block"]).read_bytes()
    header = read_header(block[:HEADER_BYTES])
    assert header.version == 2
    assert plain(header.statistics) == MANIFEST[name]["statistics"]


@pytest.mark.parametrize("name", MANIFEST)
def test_old_blocks_decode(name: str) -> None:
    entry = MANIFEST[name]
    decoded = decode_block((FOLDER / entry["block"]).read_bytes(), where=name)
    assert same_bits(decoded.values, np.load(FOLDER / entry["expected"]))
    assert (decoded.valid is None) == (entry["valid"] is None)
    if decoded.valid is not None:
        assert same_bits(decoded.valid, np.load(FOLDER / entry["valid"]))


@pytest.mark.parametrize("name", [name for name in MANIFEST if "-pieces" in name])
def test_old_pieces_are_read(name: str) -> None:
    found = read_pieces((FOLDER / MANIFEST[name]["block"]).read_bytes())
    assert found is not None
    values = np.load(FOLDER / MANIFEST[name]["expected"])
    for at in range(found.count.size):
        rows = values[at * PIECE_ROWS : (at + 1) * PIECE_ROWS]
        rows = rows[rows == rows]
        assert (found.count[at], found.min[at], found.max[at]) == (
            rows.size,
            rows.min(),
            rows.max(),
        )


def test_every_dtype_has_its_golden_headers() -> None:
    arrays = [np.load(FOLDER / entry["expected"]) for entry in MANIFEST.values()]
    assert {array.dtype for array in arrays} == set(DTYPES.values())
    assert set(MANIFEST) >= set(header_cases())


def test_adding_cases_never_touches_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "headers"
    shutil.copytree(FOLDER, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "sensor.block").write_bytes(b"kept as it is")
    for suffix in ("block", "npy", "valid.npy"):
        (folder / f"sensor-gaps.{suffix}").unlink()
    del manifest["sensor-gaps"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert add_missing(folder) == ["sensor-gaps"]
    assert (folder / "sensor.block").read_bytes() == b"kept as it is"
    del manifest["sensor"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FileExistsError):
        add_missing(folder)
