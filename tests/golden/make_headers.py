"""Write the golden headers: blocks of format version 2 that every later release must read.

Run ``python -m tests.golden.make_headers`` from the root of the project after adding to
`header_cases`. What is there already is neither changed nor replaced. Each entry of
``headers/manifest.json`` names the file of the block and the ``.npy`` files of the values that
must come back and of their validity (or null), and tells the statistics in the header; floats
are written in hexadecimal, bit for bit.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.block import decode_block, encode_block, read_header
from pipeline.codecs.cursor import sized
from pipeline.codecs.frame import BlockStatistics, join_frame
from pipeline.codecs.pieces import PIECES, write_pieces
from pipeline.codecs.statistics import block_statistics
from tests.codecs.block_columns import DTYPE_NAMES, bits_column, hard_floats, sensor, times, walk
from tests.golden.manifest import open_manifest

__all__ = ["FOLDER", "add_missing", "header_cases", "plain"]

FOLDER = Path(__file__).parent / "headers"


def header_cases() -> dict[str, bytes]:
    """Return the blocks by name."""
    gaps = np.arange(70) % 9 != 4
    runs = np.arange(3000) // 700
    columns: dict[str, tuple[NDArray[Any], NDArray[np.bool_] | None]] = {
        "sensor": (sensor(70), None),
        "sensor-gaps": (sensor(70), gaps),
        "sensor-float32": (sensor(70).astype(np.float32), None),
        "noise": (np.random.default_rng(12).normal(size=70), None),
        "times": (times(2, 35), None),
        "times-gaps": (times(2, 35), gaps),
        "level": (np.full(70, 20.5), gaps),
        "level-int64": (np.full(70, -3), gaps),
        "infinite": (np.array([1.0, np.inf, 2.0]), None),
        "constant-time": (np.full(69, 1_700_000_000_000_000), None),
        "constant-decimal": (np.full(17_000, 20.1), None),
    }
    for dtype in DTYPE_NAMES:
        columns[f"{dtype}-runs"] = (runs.astype(dtype), None)
        columns[f"{dtype}-bits"] = (bits_column(40, dtype), None)
        columns[f"{dtype}-constant"] = (np.repeat(walk(1, dtype), 300), None)
        columns[f"{dtype}-vacant"] = (walk(70, dtype), np.zeros(70, np.bool_))
        columns[f"{dtype}-empty"] = (np.empty(0, dtype), None)
    for dtype in ("float32", "float64"):
        for at, value in enumerate(hard_floats(dtype)):
            columns[f"{dtype}-constant-{at}"] = (np.repeat(value, 9), None)
    found = {name: encode_block(*column) for name, column in columns.items()}
    for dtype in ("int8", "uint64", "float32", "float64"):
        found[f"{dtype}-pieces"] = _with_pieces(sensor(2500).astype(dtype))
        found[f"{dtype}-pieces-bits"] = _with_pieces(bits_column(2500, dtype))
    return found


def _with_pieces(values: NDArray[Any]) -> bytes:
    block = encode_block(values)
    header = read_header(block)
    stages = (header.transform, header.predictor, header.entropy)
    pieces = write_pieces(values, None, values.nbytes)
    payload = bytes((PIECES,)) + sized(pieces or b"") + block[header.size :]
    return join_frame(values.dtype, block_statistics(values, None), stages, payload)


def plain(statistics: BlockStatistics) -> dict[str, Any]:
    """Return statistics as JSON keeps them, floats in hexadecimal."""
    fields = asdict(statistics).items()
    return {name: x.hex() if isinstance(x, float) else x for name, x in fields}


def add_missing(folder: Path) -> list[str]:
    """Write the entries that `folder` has not got, and return their names.

    Raises
    ------
    FileExistsError
        When a file of a new entry exists already, left over without its entry.
    """
    with open_manifest(folder) as entries:
        added = {name: block for name, block in header_cases().items() if name not in entries}
        for name, block in added.items():
            entries[name] = _write(folder, name, block)
    return list(added)


def _write(folder: Path, name: str, block: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"block": f"{name}.block", "expected": f"{name}.npy", "valid": None}
    decoded = decode_block(block)
    with (folder / f"{name}.block").open("xb") as file:
        file.write(block)
    if decoded.valid is not None:
        entry["valid"] = f"{name}.valid.npy"
        with (folder / f"{name}.valid.npy").open("xb") as file:
            np.save(file, decoded.valid)
    with (folder / f"{name}.npy").open("xb") as file:
        np.save(file, decoded.values)
    return entry | {"statistics": plain(read_header(block).statistics)}


if __name__ == "__main__":
    print("added:", ", ".join(add_missing(FOLDER)) or "nothing")
