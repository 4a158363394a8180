"""Write the golden blocks: bytes of today that every later release must decode.

Run ``python -m tests.golden.make_blocks`` from the root of the project after adding to `cases`.
What is there already is neither changed nor replaced, so the format can only be extended. Each
entry of ``blocks/manifest.json`` names the file of the block, the ``.npy`` file of the values
that must come back, the ``.npy`` file of their validity (or null), and the ids of the stages.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.arithmetic import (
    DECIMALS,
    OVER,
    PLUS,
    SIGNIFICANT,
    SINGLE,
    TIMES,
    Arithmetic,
    Step,
)
from pipeline.codecs.block import encode_block, read_header
from pipeline.codecs.entropy import BIT_PLANES, CODES, CONSTANT, RAW, VARINTS
from pipeline.codecs.mappings import Mapped, map_decimal, map_dictionary
from pipeline.codecs.multiples import as_multiples
from pipeline.codecs.significant import Significant
from pipeline.model.dtypes import fill_value
from tests.codecs.block_columns import (
    DTYPE_NAMES,
    bits_column,
    forced,
    hard_floats,
    sensor,
    times,
    walk,
)
from tests.codecs.plane_columns import COLUMNS, column, encoded
from tests.golden.manifest import open_manifest

__all__ = ["FOLDER", "add_missing", "cases"]

FOLDER = Path(__file__).parent / "blocks"

NONE = np.empty(0, np.int64)

type Case = tuple[NDArray[Any], NDArray[np.bool_] | None, Callable[[], bytes]]


def cases() -> dict[str, Case]:
    """Return values, validity and encoder of every block, by name."""
    planes: dict[str, Case] = {
        f"planes-{name}": (column(name), None, partial(encoded, name)) for name in COLUMNS
    }
    return _chosen() | _forced() | _computed() | _series() | planes


def _chosen() -> dict[str, Case]:
    """Return columns whose stages the encoder chooses."""
    noise = np.random.default_rng(12).normal(size=100)
    gaps = np.arange(70) % 9 != 4
    alternate = np.arange(70) % 2 == 0
    misfits = sensor(150)
    misfits[[0, 1, 20, 90]] = [np.pi, 2.718281828459045, -0.0, np.inf]
    misfits[100:120] = np.nan
    filled = walk(80, "int64")
    filled[20:40] = np.iinfo(np.int64).min
    columns: dict[str, tuple[NDArray[Any], NDArray[np.bool_] | None]] = {
        "sensor": (sensor(300), None),
        "sensor-single": (sensor(200).astype(np.float32).astype(np.float64), None),
        "times": (times(4, 30), None),
        "misfits": (misfits, None),
        "filled": (filled, None),
        "gaps": (sensor(70), gaps),
        "alternate": (sensor(70), alternate),
        "nothing": (sensor(70), np.zeros(70, np.bool_)),
        "dictionary": (np.tile([0.123456789, 777.1, -3e9 / 7], 30), None),
        "noise-float32": (noise.astype(np.float32), None),
        "noise-float64": (noise, None),
        "hard-float32": (hard_floats("float32"), None),
        "hard-float64": (hard_floats("float64"), None),
    }
    for dtype in DTYPE_NAMES:
        columns[f"{dtype}-empty"] = (np.empty(0, dtype), None)
        columns[f"{dtype}-one"] = (walk(1, dtype), None)
        columns[f"{dtype}-walk"] = (walk(70, dtype), gaps)
        columns[f"{dtype}-bits"] = (bits_column(40, dtype), None)
    return {
        name: (values, valid, partial(encode_block, values, valid))
        for name, (values, valid) in columns.items()
    }


def _forced() -> dict[str, Case]:
    """Return columns that go through each transform, predictor and entropy stage."""
    jumps = np.concatenate((times(1, 30), times(1, 30) * 3 + 12_345))
    columns = {
        "image": jumps,
        "ordered": np.sort(bits_column(40, "float64", seed=14)),
        "decimal": sensor(60),
        "single": sensor(60).astype(np.float32).astype(np.float64),
        "dictionary": walk(60, "float32"),
    }
    found: dict[str, Case] = {}
    for transform, values in columns.items():
        ways = [(order, *way) for order in (0, 1, 2) for way in ((VARINTS, 0), (BIT_PLANES, 64))]
        ways += [(1, RAW, 8), (2, CODES, 8)]
        if transform == "image":
            ways += [(1, BIT_PLANES, 61)]
            ways += [(1, CODES, width) for width in (1, 2, 4, *range(8, 65, 8))]
        for order, entropy, width in ways:
            name = f"stages-{transform}-{order}-{entropy}-{width}"
            mapping = "image" if transform == "ordered" else transform
            encode = partial(forced, values, mapping, order, entropy, width, step=order)
            found[name] = (values, None, encode)
    ramp = np.arange(50, dtype=np.uint16)
    found["stages-constant"] = (ramp, None, partial(forced, ramp, "image", 1, CONSTANT, step=1))
    bools = walk(50, "int8") % 2 == 0
    for width in (1, 2, 4, 8):
        name = f"stages-raw-{width}"
        found[name] = (bools, None, partial(forced, bools, "image", 0, RAW, width))
    return found


def _series() -> dict[str, Case]:
    """Return columns long enough for laned streams, runs, lists, and masks of stretches."""
    rng = np.random.default_rng(40)
    quiet = np.repeat(rng.random(60) < 0.6, 50)
    steps = rng.integers(-40, 41, 900)
    spiky = np.cumsum(rng.integers(0, 9, 3000))
    spiky[100::200] += rng.integers(2**49, 2**50, 15)
    clock = np.arange(700) * 60_000_000 + rng.integers(0, 900, 700)
    late = clock.copy()
    late[300:] += 10**15
    nan = np.round(20 + rng.normal(0, 0.3, 3000), 2)
    nan[np.repeat(rng.random(300) < 0.3, 10)] = np.nan
    computed = (walk(4000, "int64") * 0.1).astype(np.float64)
    computed[::3] = np.nextafter(computed[::3], np.inf)
    columns: dict[str, NDArray[Any]] = {
        "delta": np.cumsum(steps),
        "delta2": np.cumsum(np.cumsum(rng.integers(-3, 4, 3000))),
        "smoothing": np.round(
            20 + np.cumsum(rng.normal(0, 0.01, 3000)) + rng.normal(0, 0.05, 3000), 2
        ),
        "grid": clock,
        "grid-late": late,
        "none": rng.integers(0, 1000, 900).astype(np.int16),
        "low-bits": rng.integers(0, 2**45, 300),
        "contexts": np.cumsum(
            np.where(quiet, rng.integers(-1, 2, 3000), rng.integers(-30, 31, 3000))
        ),
        "outliers": spiky,
        "pairs": np.clip(rng.normal(0, 1.2, 30_000), -9, 9).astype(np.int8),
        "groups": rng.integers(-90, 91, 33_000).astype(np.int8),
        "single-groups": np.round(rng.normal(0, 9, 33_000), 1).astype(np.float32),
        "runs": np.repeat(rng.integers(0, 2**20, 60), rng.integers(1, 60, 60)),
        "runs-of-differences": np.cumsum(np.repeat(rng.integers(0, 90, 60), 40)),
        "list": np.array([71, -3, 800, 12]),
        "dropped": nan,
        "mended": computed,
    }
    found: dict[str, Case] = {
        f"series-{name}": (values, None, partial(encode_block, values))
        for name, values in columns.items()
    }
    for name, valid in (
        ("stretches", np.repeat(rng.random(1000) < 0.7, 3)),
        ("scattered", rng.random(3000) < 0.9),
        ("few-gaps", np.arange(3000) % 200 != 7),
    ):
        values = walk(3000, "int32")
        values[~valid] = fill_value(values.dtype)
        found[f"series-{name}"] = (values, valid, partial(encode_block, values, valid))
    return found


def _computed() -> dict[str, Case]:
    """Return floats that were computed or printed, under the transforms that know how."""
    counts = walk(60, "int64") * 37 - 900
    steps = {
        "times": (Step(TIMES, 0.1),),
        "over": (Step(OVER, 7.0),),
        "plus": (Step(OVER, 10.0), Step(PLUS, 273.15)),
        "decimals": (Step(OVER, 3.0), Step(DECIMALS, 2)),
        "significant": (Step(OVER, 0.0003), Step(SIGNIFICANT, 6)),
        "single": (Step(TIMES, 0.0625), Step(SINGLE), Step(TIMES, 9.80665), Step(SINGLE)),
        "radians": (Step(OVER, 3600.0), Step(TIMES, np.pi), Step(OVER, 180.0)),
        "none": (),
    }
    mapped = {f"arithmetic-{name}": Mapped(Arithmetic(way), counts, NONE)
              for name, way in steps.items()}  # fmt: skip
    decades = np.concatenate((counts, counts * 1000, [0, 10**6, -(10**6), 7, 4 * 10**6 + 1]))
    mapped["significant"] = Mapped(Significant(6, 5), decades, NONE)
    mapped["significant-large"] = Mapped(Significant(2, 0), np.arange(-2000, 2000, 7), NONE)
    found: dict[str, Case] = {}
    for name, way in mapped.items():
        for dtype in ("float32", "float64"):
            values = way.transform.inverse(way.numbers.view(np.uint64), np.dtype(dtype))
            encode = partial(forced, values, way, 1, VARINTS)
            found[f"{name}-{dtype}"] = (values, None, encode)
    for dtype in ("float32", "float64"):
        values = np.concatenate((hard_floats(dtype), walk(60, dtype) / np.array(4, dtype)))
        entries = partial(map_decimal, exponent=2, single=False, most=0.9)
        mended = map_dictionary(values, map_entries=entries)
        assert mended is not None
        found[f"mended-{dtype}"] = (values, None, partial(forced, values, mended, 0, CODES, 8))
    seconds = np.arange(300) * 7919 % 324_000
    noisy = (seconds // 3600 + seconds // 60 % 60 / 60 + seconds % 60 / 3600) * np.pi / 180
    corners = np.arange(3000) * 7919 % 324_000 - 160_000
    places = corners / 3600 * np.pi / 180
    places[::41] += 1e-9
    multiples = as_multiples(places, Arithmetic(steps["radians"]), corners)
    assert multiples is not None
    one = Mapped(*multiples, NONE)
    found["multiples"] = (places, None, partial(forced, places, one, 0, CODES, 32))
    found["dense-corrections"] = (noisy, None, partial(encode_block, noisy))
    return found


def add_missing(folder: Path) -> list[str]:
    """Write the entries that `folder` has not got, and return their names.

    Raises
    ------
    FileExistsError
        When a file of a new entry exists already, left over without its entry.
    """
    with open_manifest(folder) as entries:
        added = {name: case for name, case in cases().items() if name not in entries}
        for name, (values, valid, encode) in added.items():
            entries[name] = _write(folder, name, values, valid, encode())
    return list(added)


def _write(
    folder: Path, name: str, values: NDArray[Any], valid: NDArray[np.bool_] | None, block: bytes
) -> dict[str, Any]:
    header = read_header(block)
    entry: dict[str, Any] = {"block": f"{name}.block", "expected": f"{name}.npy", "valid": None}
    with (folder / f"{name}.block").open("xb") as file:
        file.write(block)
    if valid is not None:
        entry["valid"] = f"{name}.valid.npy"
        values = np.where(valid, values, np.full(1, fill_value(values.dtype), values.dtype))
        with (folder / f"{name}.valid.npy").open("xb") as file:
            np.save(file, valid)
    with (folder / f"{name}.npy").open("xb") as file:
        np.save(file, values)
    return entry | {"stages": [header.transform, header.predictor, header.entropy]}


if __name__ == "__main__":
    print("added:", ", ".join(add_missing(FOLDER)) or "nothing")
