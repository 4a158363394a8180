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


def arrays(name: str) -> dict[str, Any]:
    """Block, values and validity of one case."""
    with np.load(FOLDER / MANIFEST[name]["file"]) as found:
        return dict(found)


@pytest.mark.parametrize("name", MANIFEST)
def test_old_headers_say_the_same(name: str) -> None:
    header = read_header(arrays(name)["block"][:HEADER_BYTES])
    assert header.version == 2
    assert (header.step, header.scale) == (MANIFEST[name]["step"], MANIFEST[name]["scale"])
    assert plain(header.statistics) == MANIFEST[name]["statistics"]


@pytest.mark.parametrize("name", MANIFEST)
def test_old_blocks_decode(name: str) -> None:
    case = arrays(name)
    decoded = decode_block(case["block"], where=name)
    assert same_bits(decoded.values, case["values"])
    assert (decoded.valid is None) == ("valid" not in case)
    if decoded.valid is not None:
        assert same_bits(decoded.valid, case["valid"])


@pytest.mark.parametrize("name", [name for name in MANIFEST if "-pieces" in name])
def test_old_pieces_are_read(name: str) -> None:
    case = arrays(name)
    found, values = read_pieces(case["block"]), case["values"]
    assert found is not None
    for at in range(found.count.size):
        rows = values[at * PIECE_ROWS : (at + 1) * PIECE_ROWS]
        rows = rows[rows == rows]
        assert (found.count[at], found.min[at], found.max[at]) == (
            rows.size,
            rows.min(),
            rows.max(),
        )


def test_every_dtype_has_its_golden_headers() -> None:
    assert {arrays(name)["values"].dtype for name in MANIFEST} == set(DTYPES.values())
    assert set(MANIFEST) >= set(header_cases())


def test_the_golden_headers_have_all_forms() -> None:
    flags = set()
    for name in MANIFEST:
        block = arrays(name)["block"]
        flags |= {
            1 << bit for bit in range(11) if (int(block[6]) | int(block[5]) >> 5 << 8) >> bit & 1
        }
    assert flags == {1 << bit for bit in range(10)}


def test_adding_cases_never_touches_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "headers"
    shutil.copytree(FOLDER, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "sensor.npz").write_bytes(b"kept as it is")
    (folder / "sensor-gaps.npz").unlink()
    del manifest["sensor-gaps"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert add_missing(folder) == ["sensor-gaps"]
    assert (folder / "sensor.npz").read_bytes() == b"kept as it is"
    del manifest["sensor"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FileExistsError):
        add_missing(folder)
