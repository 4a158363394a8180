"""Laws of the filters: whatever goes in comes out, whatever is damaged is refused."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import zarr
from hypothesis import given, settings
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, ZstdCodec

from pipeline.codecs.filters import Bitshuffle, Delta, Varint
from pipeline.codecs.zarr_filters import BitshuffleCodec, DeltaCodec, VarintCodec
from pipeline.errors import CorruptBlockError
from tests.codecs.filter_arrays import DTYPES

# Kernels also run uncompiled, where a value costs microseconds: keep the buffers small.
MOST_BYTES = 400
INTEGER_TYPES = [dtype for dtype in DTYPES if np.dtype(dtype).kind != "f"]


@st.composite
def arrays(draw: st.DrawFn, dtypes: Any = DTYPES) -> NDArray[Any]:
    """Any bit pattern, in runs, steps or noise, in one to three dimensions and any order."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    flat = _values(draw, dtype)
    layout = draw(st.sampled_from(["flat", "gaps", "reversed", "C", "F", "cube"]))
    if layout in {"flat", "gaps", "reversed"}:
        return flat[:: {"flat": 1, "gaps": 3, "reversed": -1}[layout]]
    square = flat[: flat.size // 4 * 4].reshape(-1, 4)
    if layout == "cube":
        return square.reshape(-1, 2, 2).transpose(1, 0, 2)
    return square if layout == "C" else np.asfortranarray(square)


def _values(draw: st.DrawFn, dtype: np.dtype[Any]) -> NDArray[Any]:
    raw = draw(st.binary(max_size=MOST_BYTES))
    if dtype.kind == "b":
        return (np.frombuffer(raw, np.uint8) & 1).astype(np.bool_)
    whole = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
    return np.repeat(whole[: max(whole.size // 8, 1)], draw(st.integers(1, 9)))


@st.composite
def damaged_varints(draw: st.DrawFn) -> bytes:
    """A valid buffer with bytes changed, cut off or added; mostly no longer valid."""
    data = bytearray(Varint().encode(draw(arrays(INTEGER_TYPES))).tobytes())
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(data)))
    return draw(st.sampled_from([bytes(data), bytes(data[:cut]), bytes(data) + b"\x00"]))


@settings(deadline=None)
@given(arrays(), st.sampled_from([1, 2]))
def test_delta_is_undone(array: NDArray[Any], order: int) -> None:
    codec = Delta(array.dtype, order=order)
    encoded = codec.encode(array)
    assert encoded.nbytes == array.nbytes
    assert np.asarray(codec.decode(encoded)).tobytes() == array.tobytes(order="A")


@settings(deadline=None)
@given(arrays(), st.integers(1, 20))
def test_bitshuffle_is_undone(array: NDArray[Any], elementsize: int) -> None:
    codec = Bitshuffle(elementsize)
    encoded = codec.encode(array)
    assert encoded.nbytes == array.nbytes
    assert np.asarray(codec.decode(encoded)).tobytes() == array.tobytes(order="A")


@settings(deadline=None)
@given(arrays(INTEGER_TYPES))
def test_varint_is_undone(array: NDArray[Any]) -> None:
    decoded = Varint().decode(Varint().encode(array))
    assert decoded.dtype.itemsize == array.dtype.itemsize
    assert decoded.tobytes() == array.tobytes(order="A")


@settings(deadline=None)
@given(st.binary(max_size=MOST_BYTES), st.sampled_from(INTEGER_TYPES), st.sampled_from([1, 2]))
def test_any_whole_number_of_values_is_a_delta(data: bytes, dtype: str, order: int) -> None:
    whole = data[: len(data) // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize]
    codec = Delta(dtype, order=order)
    try:
        values = codec.decode(whole)
    except CorruptBlockError:
        assert dtype == "?"
    else:
        assert codec.encode(values).tobytes() == whole


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=MOST_BYTES), damaged_varints()))
def test_varint_refuses_or_had_written_it_itself(data: bytes) -> None:
    try:
        values = Varint().decode(data)
    except CorruptBlockError:
        return
    # One form for each array: what is accepted is what the encoder writes.
    assert Varint().encode(values).tobytes() == data
    assert values.nbytes <= 8 * len(data)


CHAINS: list[tuple[list[Any], Any, list[Any]]] = [
    ([DeltaCodec()], VarintCodec(), [ZstdCodec()]),
    ([DeltaCodec(order=2)], BytesCodec(), [BitshuffleCodec(), ZstdCodec()]),
]


@settings(deadline=None, max_examples=25)
@given(arrays(), st.sampled_from(CHAINS))
def test_zarr_arrays_come_back(array: NDArray[Any], chain: Any) -> None:
    filters, serializer, compressors = chain
    store: dict[str, Any] = {}
    created = zarr.create_array(
        store,
        shape=array.shape,
        chunks=tuple(side // 2 + 1 for side in array.shape),
        dtype=array.dtype,
        filters=filters,
        serializer=serializer,
        compressors=compressors,
    )
    created[...] = array
    read = np.asarray(zarr.open_array(store, mode="r")[...])
    assert read.tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
