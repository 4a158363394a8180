"""Columns that stress blocks, and blocks put together by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba import config
from numpy.typing import NDArray

from pipeline.codecs.entropy import ENTROPY
from pipeline.codecs.frame import DTYPES, join_frame
from pipeline.codecs.mappings import Mapped, map_decimal, map_dictionary, map_image
from pipeline.codecs.predictors import Predictor
from pipeline.codecs.scaling import scale_down
from pipeline.codecs.statistics import block_statistics
from pipeline.codecs.streams import encode_stream

__all__ = [
    "DTYPE_NAMES",
    "LONG",
    "any_column",
    "assemble",
    "bits_column",
    "forced",
    "hard_floats",
    "mapping",
    "same_bits",
    "sensor",
    "times",
    "walk",
]

DTYPE_NAMES = tuple(str(dtype) for dtype in DTYPES.values())

LONG = 10_000 if config.DISABLE_JIT else 65_536  # type: ignore[attr-defined]
"""Rows of a long column: a full block, or fewer where loops are interpreted."""


def sensor(rows: int, digits: int = 1, seed: int = 3) -> NDArray[np.float64]:
    """A temperature once a minute over days, with small noise, rounded to `digits`."""
    rng = np.random.default_rng(seed)
    day = 5 * np.sin(np.arange(rows) * 2 * np.pi / 1440)
    return np.round(20 + day + rng.normal(0, 0.05, rows), digits)


def times(devices: int, rows: int) -> NDArray[np.int64]:
    """Microseconds of `rows` readings a minute apart for each of some devices, sorted by device."""
    return 1_700_000_000_000_000 + np.tile(np.arange(rows) * 60_000_000, devices)


def walk(rows: int, dtype: str, seed: int = 5) -> NDArray[Any]:
    """A random walk that stays within the narrowest integers."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-1, 2, rows)
    return (64 + np.abs(np.cumsum(steps)) % 60).astype(dtype)


def bits_column(rows: int, dtype: str, seed: int = 7) -> NDArray[Any]:
    """Values of any bits at all, NaN payloads and infinities among them."""
    kind = np.dtype(dtype)
    raw = np.random.default_rng(seed).integers(0, 256, rows * kind.itemsize).astype(np.uint8)
    return (raw & 1).view(kind) if kind.kind == "b" else raw.view(kind)


def hard_floats(dtype: str) -> NDArray[Any]:
    """Floats that look alike to `==` or to no one: zeros, NaNs with payloads, infinities."""
    info = np.finfo(dtype)
    width = np.dtype(dtype).itemsize
    values = np.array(
        [0.0, -0.0, 1.5, np.nan, np.inf, -np.inf, info.max, -info.max, info.tiny,
         info.smallest_subnormal, -info.smallest_subnormal, 0.1, -20.25],
        dtype,
    )  # fmt: skip
    nans = values[[3, 3, 3]].view(f"u{width}") + np.array([1, 2, 77], f"u{width}")
    quiet = -values[3:4]
    return np.concatenate((values, nans.view(dtype), quiet, values[::-1]))


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two arrays agree in dtype, shape and every bit."""
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


def mapping(values: NDArray[Any], name: str) -> Mapped:
    """Map values by the transform `name`, which must fit."""
    if name == "image":
        return map_image(values)
    if name == "dictionary":
        mapped = map_dictionary(values)
    else:
        mapped = map_decimal(values, 1, name == "single", 0.0)
    assert mapped is not None
    return mapped


def forced(
    values: NDArray[Any],
    transform: str | Mapped,
    order: int,
    entropy: int,
    width: int = 0,
    step: int = 0,
) -> bytes:
    """Encode a column by the stages that are asked for instead of chosen."""
    mapped = mapping(values, transform) if isinstance(transform, str) else transform
    assert not mapped.misfits.size
    scaled = scale_down(mapped.numbers)
    predictor, residuals = Predictor.forward(order, step, scaled.multiples)
    body = ENTROPY[entropy].encode(residuals, width)
    stream = encode_stream(scaled, predictor, entropy, body)
    stages = (mapped.transform.id, order, entropy)
    payload = b"\x01" + mapped.transform.write() + stream.body
    return join_frame(values.dtype, block_statistics(values, None), stages, payload)


def assemble(dtype: str, rows: int, stages: tuple[int, int, int], payload: bytes) -> bytes:
    """Return a block with good checksums around whatever payload."""
    statistics = block_statistics(np.zeros(rows, dtype), None)
    return join_frame(np.dtype(dtype), statistics, stages, payload)


@st.composite
def any_column(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Columns of every dtype: any bits, few values, small steps or decimals; some rows missing."""
    dtype = np.dtype(draw(st.sampled_from(DTYPE_NAMES)))
    rows = draw(st.integers(0, 60))
    words = np.dtype(f"u{dtype.itemsize}")
    content = draw(st.sampled_from(("bits", "few", "steps", "decimals")))
    if content == "few":
        some = draw(st.lists(hnp.from_dtype(words), min_size=1, max_size=3))
        raw = np.array(draw(st.lists(st.sampled_from(some), min_size=rows, max_size=rows)), words)
    else:
        raw = draw(hnp.arrays(words, rows))
    if content == "steps":
        raw = np.cumsum(raw % 5, dtype=words)
    if dtype.kind == "b":
        raw = raw & 1
    values = raw.view(dtype)
    if content == "decimals" and dtype.kind == "f":
        hundredths = draw(hnp.arrays(np.int32, rows))
        values = (hundredths / 100.0).astype(dtype)
    valid = draw(st.none() | hnp.arrays(np.bool_, rows))
    return values, valid
