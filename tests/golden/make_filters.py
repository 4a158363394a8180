"""Write the golden files of the filters: bytes of today that every later release must decode.

Run ``python -m tests.golden.make_filters`` from the root of the project after adding to `cases`
or `chains`. What is there already is neither changed nor replaced, so a format can only be
extended. Each entry of ``filters/manifest.json`` names

``codec``
    configuration of a numcodecs codec, with ``encoded`` the file of its bytes, or
``zarr``
    the folder of a Zarr v3 array that a chain of filters wrote, and
``expected``
    the ``.npy`` file of the values that must come back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from pipeline.codecs.zarr_filters import BitshuffleCodec, DeltaCodec, VarintCodec
from tests.codecs.filter_arrays import adversarial, sensor_values, steady_times
from tests.golden.manifest import open_manifest

__all__ = ["FOLDER", "add_missing", "cases", "chains"]

FOLDER = Path(__file__).parent / "filters"

_DELTA, _BITSHUFFLE, _VARINT = "iot_archive.delta", "iot_archive.bitshuffle", "iot_archive.varint"


def cases() -> dict[str, tuple[dict[str, Any], NDArray[Any]]]:
    """Return the codec configuration and the values of every buffer, by name."""
    times, values = steady_times(50), sensor_values(70)
    found: dict[str, tuple[dict[str, Any], NDArray[Any]]] = {
        "delta-times": ({"id": _DELTA, "dtype": "<M8[us]", "order": 2}, times),
        "delta-sensor": ({"id": _DELTA, "dtype": "<f8", "order": 1}, values),
        "delta-empty": ({"id": _DELTA, "dtype": "<i4", "order": 1}, np.empty(0, "i4")),
        "delta-one": ({"id": _DELTA, "dtype": "<i4", "order": 2}, np.array([-7], "i4")),
        "bitshuffle-sensor": ({"id": _BITSHUFFLE, "elementsize": 8}, values),
        "bitshuffle-tiles": ({"id": _BITSHUFFLE, "elementsize": 4}, adversarial("f4", 1100)),
        "bitshuffle-odd": ({"id": _BITSHUFFLE, "elementsize": 3}, adversarial("u1", 100)),
        "bitshuffle-empty": ({"id": _BITSHUFFLE, "elementsize": 8}, np.empty(0, "u1")),
        "varint-empty": ({"id": _VARINT}, np.empty(0, "i4")),
        "varint-steps": ({"id": _VARINT}, np.diff(np.round(values * 10).astype("i8"))),
    }
    for dtype in ("|b1", "|i1", "<i2", "<i8", "<u8", ">i4", "<f2", "<f4", "<f8", ">f8"):
        name = dtype.replace("<", "").replace("|", "").replace(">", "big-")
        for order in (1, 2):
            config = {"id": _DELTA, "dtype": dtype, "order": order}
            found[f"delta{order}-{name}"] = (config, adversarial(dtype, 20))
    for dtype in ("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", ">i8"):
        name = dtype.replace("<", "").replace("|", "").replace(">", "big-")
        found[f"varint-{name}"] = ({"id": _VARINT}, adversarial(dtype, 20))
    for width in (1, 2, 4, 8):
        config = {"id": _BITSHUFFLE, "elementsize": width}
        found[f"bitshuffle-{width}"] = (config, adversarial(f"u{width}", 61))
    return found


def chains() -> dict[str, tuple[dict[str, Any], NDArray[Any]]]:
    """Return the codecs and the values of every Zarr array, by name."""
    zstd = ZstdCodec(level=3)
    varint: dict[str, Any] = {
        "filters": [DeltaCodec(order=2)],
        "serializer": VarintCodec(),
        "compressors": zstd,
    }
    shuffled: dict[str, Any] = {"filters": [DeltaCodec()], "compressors": [BitshuffleCodec(), zstd]}
    return {
        "chain-varint-i8": (varint, steady_times(90).astype("i8")),
        "chain-varint-f8": (varint, adversarial("f8", 30)),
        "chain-bitshuffle-f8": (shuffled, sensor_values(90)),
        "chain-bitshuffle-f4": (shuffled, adversarial("f4", 60)),
    }


def add_missing(folder: Path) -> list[str]:
    """Write the entries that `folder` has not got, and return their names.

    Raises
    ------
    FileExistsError
        When a file of a new entry exists already, left over without its entry.
    """
    with open_manifest(folder) as entries:
        buffers = {name: case for name, case in cases().items() if name not in entries}
        arrays = {name: case for name, case in chains().items() if name not in entries}
        for name, (config, values) in buffers.items():
            _write_buffer(folder / f"{name}.bin", config, values)
            entries[name] = {"codec": config, "encoded": f"{name}.bin", "expected": f"{name}.npy"}
        for name, (codecs, values) in arrays.items():
            _write_array(folder / f"{name}.zarr", codecs, values)
            entries[name] = {"zarr": f"{name}.zarr", "expected": f"{name}.npy"}
        for name, (_, values) in (buffers | arrays).items():
            with (folder / f"{name}.npy").open("xb") as file:
                np.save(file, values)
    return [*buffers, *arrays]


def _write_buffer(path: Path, config: dict[str, Any], values: NDArray[Any]) -> None:
    with path.open("xb") as file:
        file.write(np.asarray(numcodecs.get_codec(dict(config)).encode(values)).tobytes())


def _write_array(path: Path, codecs: dict[str, Any], values: NDArray[Any]) -> None:
    array: zarr.Array[Any] = zarr.create_array(
        path, shape=values.shape, chunks=(values.size // 2,), dtype=values.dtype, **codecs
    )
    array[:] = values


if __name__ == "__main__":
    print("added:", ", ".join(add_missing(FOLDER)) or "nothing")
