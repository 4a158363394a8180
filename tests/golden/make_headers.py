"""Write the golden headers: blocks of format version 2 that every later release must read.

Run ``python -m tests.golden.make_headers`` from the root of the project after adding to
`header_cases`. What is there already is neither changed nor replaced. Each entry of
``headers/manifest.json`` names the ``.npz`` file of the case, with the bytes of the block, the
values that must come back and, unless all are there, their validity, as ``block``, ``values`` and
``valid``. It tells step, scale and statistics in the header, too; floats are written in
hexadecimal, bit for bit.
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
        "infinite": (np.array([1.0, np.inf, 2.0]), None),
        "constant-time": (np.full(69, 1_700_000_000_000_000), None),
        "constant-decimal": (np.full(17_000, 20.1), None),
        "linear-times": (times(1, 69), None),
        "linear-down": (np.arange(90, -90, -3).astype(np.int8), None),
        "linear-top": (np.uint64(2**64 - 1) - np.arange(300, dtype=np.uint64), None),
        "linear-bottom": ((np.arange(40) - 64) * 2**57, None),
        "vacant": (sensor(70), np.zeros(70, np.bool_)),
        "empty": (np.empty(0), None),
    }
    for dtype in DTYPE_NAMES:
        columns[f"{dtype}-runs"] = (runs.astype(dtype), None)
        columns[f"{dtype}-bits"] = (bits_column(40, dtype), None)
    for dtype in ("bool", "int8", "uint64"):
        columns[f"{dtype}-constant"] = (np.repeat(walk(1, dtype), 300), None)
    for dtype in ("float32", "float64"):
        for at in (1, 3, 5, 9, 12):  # -0.0, NaN, -infinity, subnormal, decimal
            columns[f"{dtype}-constant-{at}"] = (np.repeat(hard_floats(dtype)[at], 9), None)
    found = {name: encode_block(*column) for name, column in columns.items()}
    for dtype in ("int8", "float64"):
        found[f"{dtype}-pieces"] = _with_pieces(sensor(2500).astype(dtype))
        found[f"{dtype}-pieces-bits"] = _with_pieces(bits_column(2500, dtype))
    return found | _scaled_cases()


def _scaled_cases() -> dict[str, bytes]:
    """Return blocks whose statistics are counted in a scale."""
    hours = 472_222 + np.cumsum(1 + (np.arange(70) % 9 == 4))
    columns = {
        "scaled-hours": (hours * 3_600_000_000, 3_600_000_000),
        "scaled-off": (np.tile(hours * 1_000_000 + 123_456, 2), 1_000_000),
        "scaled-primes": ((-7 * 101 * (hours % 13)).astype(np.int32), 707),
    }
    return {name: _with_scale(*column) for name, column in columns.items()}


def _with_scale(values: NDArray[Any], scale: int) -> bytes:
    block = encode_block(values)
    header = read_header(block)
    stages = (header.transform, header.predictor, header.entropy)
    payload = block[header.size :]
    return join_frame(values.dtype, header.statistics, stages, payload, scale=scale)


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
    header, decoded = read_header(block), decode_block(block)
    arrays = {"block": np.frombuffer(block, np.uint8), "values": decoded.values}
    if decoded.valid is not None:
        arrays["valid"] = decoded.valid
    with (folder / f"{name}.npz").open("xb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    found = {"file": f"{name}.npz", "step": header.step, "scale": header.scale}
    return found | {"statistics": plain(header.statistics)}


if __name__ == "__main__":
    print("added:", ", ".join(add_missing(FOLDER)) or "nothing")
