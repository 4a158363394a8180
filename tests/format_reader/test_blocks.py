"""What FORMAT.md says of blocks is enough to read every golden block, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.format_reader.block import read_block, read_pieces
from tests.format_reader.header import read_header

GOLDEN = Path(__file__).parents[1] / "golden"


def manifest(folder: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((GOLDEN / folder / "manifest.json").read_text())
    return found


def same_bits(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", manifest("blocks"))
def test_blocks(name: str) -> None:
    entry, folder = manifest("blocks")[name], GOLDEN / "blocks"
    values, valid = read_block((folder / entry["block"]).read_bytes())
    assert same_bits(values, np.load(folder / entry["expected"]))
    if entry["valid"] is None:
        assert valid.all()
    else:
        assert same_bits(valid, np.load(folder / entry["valid"]))


@pytest.mark.parametrize("name", manifest("headers"))
def test_headers(name: str) -> None:
    entry = manifest("headers")[name]
    with np.load(GOLDEN / "headers" / entry["file"]) as case:
        block = case["block"].tobytes()
        values, valid = read_block(block)
        assert same_bits(values, case["values"])
        assert same_bits(valid, case["valid"]) if "valid" in case else valid.all()
    header, told = read_header(block), entry["statistics"]
    assert (header.count, header.missing) == (told["count"], told["missing"])
    assert (header.step, header.scale) == (entry["step"], entry["scale"])
    for found, name in (
        (header.low, "min"), (header.high, "max"), (header.first, "first"),
        (header.last, "last"), (header.sum, "sum"), (header.m2, "m2"),
    ):  # fmt: skip
        expected = float.fromhex(told[name]) if isinstance(told[name], str) else told[name]
        assert repr(None if found is None else float(found)) == repr(
            None if expected is None else float(expected)
        ), name


@pytest.mark.parametrize("name", [name for name in manifest("headers") if "-pieces" in name])
def test_pieces(name: str) -> None:
    with np.load(GOLDEN / "headers" / manifest("headers")[name]["file"]) as case:
        values, found = case["values"], read_pieces(case["block"].tobytes())
        valid = case["valid"] if "valid" in case else np.ones(len(values), np.bool_)
    assert len(found) == -(-len(values) // 1024)
    for at, (count, low, high) in enumerate(found):
        rows = values[1024 * at : 1024 * (at + 1)][valid[1024 * at : 1024 * (at + 1)]]
        rows = rows[rows == rows]
        assert (count, low, high) == (len(rows), rows.min(), rows.max())
