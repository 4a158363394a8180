"""The numcodecs filters bring back every bit, and say so when they cannot."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from numcodecs.abc import Codec
from numpy.typing import NDArray

from pipeline.codecs.filters import Bitshuffle, Delta, Varint
from pipeline.errors import CorruptBlockError, InvalidInputError
from tests.codecs.filter_arrays import DTYPES, INTEGERS, adversarial, sensor_values, steady_times

VARINT_DTYPES = [dtype for dtype in DTYPES if np.dtype(dtype).kind != "f"]


def codecs_for(dtype: str) -> list[Codec]:
    codecs = [Delta(dtype), Delta(dtype, order=2), Bitshuffle(np.dtype(dtype).itemsize)]
    return [*codecs, Varint()] if np.dtype(dtype).kind != "f" else codecs


def assert_round_trip(codec: Codec, array: NDArray[Any]) -> None:
    encoded = codec.encode(array)
    decoded = np.asarray(codec.decode(encoded))
    assert decoded.tobytes() == array.tobytes(order="A")
    assert decoded.ndim == 1


# --- round trips --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 67, 600])
def test_every_type_and_length_comes_back(dtype: str, size: int) -> None:
    for codec in codecs_for(dtype):
        assert_round_trip(codec, adversarial(dtype, size))


@pytest.mark.parametrize("dtype", ["?", "i2", "u8", "f4", "f8", "M8[us]"])
def test_every_memory_layout_comes_back(dtype: str) -> None:
    flat = adversarial(dtype, 120)
    cube = flat.reshape(4, 5, 6)
    layouts = [flat[0].reshape(()), flat[::2], flat[::-1], cube, cube.T, np.asfortranarray(cube)]
    layouts += [cube[:, ::2], cube.transpose(1, 0, 2), np.broadcast_to(flat[:3], (4, 3))]
    for array in layouts:
        for codec in codecs_for(dtype):
            assert_round_trip(codec, array)


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview], ids=lambda make: make.__name__)
def test_every_buffer_kind_comes_back(make: type) -> None:
    array = adversarial("f8", 100)
    for codec in (Delta("f8"), Delta("f8", order=2), Bitshuffle(8), Varint()):
        encoded = codec.encode(make(array.tobytes()))
        decoded = codec.decode(make(np.asarray(encoded).tobytes()))
        assert np.asarray(decoded).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["?", "i4", "f8", "M8[us]", ">i8"])
def test_decodes_into_a_given_buffer(dtype: str) -> None:
    array = adversarial(dtype, 48)
    for codec in codecs_for(dtype):
        for out in (np.empty_like(array), np.empty((6, 8), dtype), np.empty((6, 8), dtype, "F")):
            codec.decode(codec.encode(array), out=out)
            assert out.tobytes(order="A") == array.tobytes()
        raw = bytearray(array.nbytes)
        codec.decode(codec.encode(array), out=raw)
        assert bytes(raw) == array.tobytes()


@pytest.mark.parametrize("codec", [Delta("i8"), Bitshuffle(8), Varint()], ids=repr)
def test_refuses_an_out_of_the_wrong_length(codec: Codec) -> None:
    encoded = codec.encode(np.arange(10))
    with pytest.raises(InvalidInputError, match=r"72 bytes.*80"):
        codec.decode(encoded, out=np.empty(9, "i8"))


def test_nan_payloads_and_negative_zero_survive_delta() -> None:
    bits = np.array([0x7FF0_0000_0000_0001, 0xFFF8_0000_DEAD_BEEF, 1 << 63, 0], np.uint64)
    for order in (1, 2):
        for integer, dtype in (("<u8", "<f8"), (">u8", ">f8")):
            array = bits.astype(integer).view(dtype)
            codec = Delta(dtype, order=order)
            assert codec.decode(codec.encode(array)).tobytes() == array.tobytes()


def test_the_result_never_shares_memory_with_the_input() -> None:
    array = np.arange(20)
    for codec in (Delta("i8"), Bitshuffle(8), Varint()):
        encoded = codec.encode(array)
        assert not np.shares_memory(encoded, array)
        assert not np.shares_memory(codec.decode(encoded), encoded)


def test_threads_may_share_a_codec() -> None:
    arrays = [adversarial("i8", 700, seed) for seed in range(8)]
    codecs = (Delta("i8"), Bitshuffle(8), Varint())
    with ThreadPoolExecutor(4) as pool:
        for codec in codecs:
            encoded = pool.map(codec.encode, arrays)
            for array, decoded in zip(arrays, pool.map(codec.decode, encoded), strict=True):
                assert np.asarray(decoded).tobytes() == array.tobytes()


# --- what the filters are for -------------------------------------------------------------


def test_delta_turns_steady_timestamps_into_one_number() -> None:
    times = steady_times(100)
    assert set(Delta("M8[us]").encode(times)[1:].tolist()) == {10_000_000}
    assert set(Delta("M8[us]", order=2).encode(times)[2:].tolist()) == {0}


def test_delta_wraps_instead_of_narrowing() -> None:
    array = np.array([-128, 127, -128], np.int8)
    assert Delta("i1").encode(array).tolist() == [-128, -1, 1]
    unsigned = np.array([5, 3, 2**64 - 1, 0], np.uint64)
    assert Delta("u8").encode(unsigned).tolist() == [5, -2, -4, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_delta_gives_signed_integers_of_the_same_width_and_order(dtype: str) -> None:
    encoded = Delta(dtype).encode(adversarial(dtype, 3))
    wanted = np.dtype(f"i{np.dtype(dtype).itemsize}").newbyteorder(np.dtype(dtype).byteorder)
    assert encoded.dtype == wanted


def test_timestamps_take_a_byte_each_after_delta_of_delta_and_varint() -> None:
    times = steady_times(1000)
    encoded = Varint().encode(Delta("M8[us]", order=2).encode(times))
    assert encoded.size < 1000 + 30
    assert times.nbytes > 7.5 * encoded.size


def test_bitshuffle_helps_a_compressor_on_sensor_values() -> None:
    values = np.round(sensor_values(4096) * 10).astype("i4")
    plain = len(numcodecs.LZ4().encode(values))
    shuffled = len(numcodecs.LZ4().encode(Bitshuffle(4).encode(values)))
    assert shuffled * 2 < plain


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u8", "V3", "V5", "V12", "c16"])
@pytest.mark.parametrize("size", [8, 40, 512, 520, 1096])
def test_bitshuffle_orders_bits_as_documented(dtype: str, size: int) -> None:
    width = np.dtype(dtype).itemsize
    data = adversarial("u1", size * width)
    bits = np.unpackbits(data.reshape(size, width), axis=1, bitorder="little")
    rows = np.packbits(bits.T, axis=1, bitorder="little")
    assert Bitshuffle(width).encode(data.view(dtype)).tobytes() == rows.tobytes()


@pytest.mark.parametrize("elementsize", [1, 3, 8, 100])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 63, 65, 100])
def test_bitshuffle_takes_any_length_and_leaves_the_tail(elementsize: int, size: int) -> None:
    data = adversarial("u1", size)
    codec = Bitshuffle(elementsize)
    encoded = codec.encode(data)
    moved = size // (8 * elementsize) * 8 * elementsize
    assert encoded.size == size
    assert encoded[moved:].tobytes() == data[moved:].tobytes()
    assert np.asarray(codec.decode(encoded)).tobytes() == data.tobytes()


@pytest.mark.parametrize(
    ("array", "payload"),
    [
        (np.array([0, 127, 128, 300], "u2"), [0, 127, 0x80, 1, 0xAC, 2]),
        (np.array([0, -1, 1, -2, 64], "i8"), [0, 1, 2, 3, 0x80, 1]),
        (np.array([-(2**63)], "i8"), [0xFF] * 9 + [1]),
        (np.array([False, True]), [0, 1]),
        (np.array([], "i4"), []),
    ],
)
def test_varint_writes_leb128_after_its_header(array: NDArray[Any], payload: list[int]) -> None:
    encoded = Varint().encode(array)
    assert encoded[2:10].tobytes() == struct.pack("<Q", array.size)
    assert encoded[10:].tolist() == payload


@pytest.mark.parametrize("dtype", VARINT_DTYPES)
def test_varint_remembers_the_type(dtype: str) -> None:
    given = np.dtype(dtype)
    ticks = np.dtype("i8").newbyteorder(given.byteorder)
    decoded = Varint().decode(Varint().encode(adversarial(dtype, 5)))
    assert decoded.dtype == (ticks if given.kind in "mM" else given)


# --- damaged bytes ------------------------------------------------------------------------


def varint_bytes(code: int, count: int, payload: bytes, version: int = 1) -> bytes:
    return struct.pack("<BBQ", version, code, count) + payload


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "too few"),
        (b"\x01\x05", "too few"),
        (varint_bytes(5, 0, b"", version=2), "version is 2"),
        (varint_bytes(0, 0, b""), "type code 0"),
        (varint_bytes(10, 0, b""), "type code 10"),
        (varint_bytes(0x80 | 6, 0, b""), "type code 134"),
        (varint_bytes(5, 2**63, b"\x00" * 8), "announces"),
        (varint_bytes(5, 2, b"\x00"), "announces 2 values in 1 bytes"),
        (varint_bytes(5, 2, b"\x00\x80"), "ends before"),
        (varint_bytes(5, 2, b"\x80\x01"), "ends before"),
        (varint_bytes(5, 1, b"\x00\x00"), "1 bytes follow"),
        (varint_bytes(5, 0, b"\x00"), "1 bytes follow"),
        (varint_bytes(5, 1, b"\x80\x00"), "more bytes than it needs"),
        (varint_bytes(9, 1, b"\xff" * 9 + b"\x02"), "more than 64 bits"),
        (varint_bytes(9, 1, b"\x80" * 10 + b"\x01"), "more than 64 bits"),
        (varint_bytes(6, 1, b"\x80\x02"), "beyond the range"),
        (varint_bytes(2, 1, b"\xff\x03"), "beyond the range"),
        (varint_bytes(1, 1, b"\x02"), "beyond the range"),
    ],
)
def test_varint_refuses_damaged_bytes(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptBlockError, match=reason):
        Varint().decode(data)


def test_varint_refuses_every_truncation() -> None:
    encoded = Varint().encode(adversarial("i8", 20))
    for length in range(encoded.size):
        with pytest.raises(CorruptBlockError):
            Varint().decode(encoded[:length])


def test_delta_refuses_bytes_that_are_no_whole_number_of_values() -> None:
    with pytest.raises(CorruptBlockError, match="7 elements of uint8"):
        Delta("i4").decode(b"1234567")
    with pytest.raises(CorruptBlockError, match="int16"):
        Delta("i4").decode(np.zeros(4, "i2"))


def test_delta_refuses_differences_that_do_not_add_up_to_booleans() -> None:
    with pytest.raises(CorruptBlockError, match="booleans"):
        Delta("?").decode(np.array([1, 1], np.int8))


# --- wrong use ----------------------------------------------------------------------------


def test_delta_refuses_values_of_another_width() -> None:
    with pytest.raises(InvalidInputError, match="float32"):
        Delta("f8").encode(np.zeros(4, "f4"))
    with pytest.raises(InvalidInputError, match="9 elements"):
        Delta("f8").encode(b"123456789")


@pytest.mark.parametrize("dtype", ["c16", "g", "U3", "S4", "V8", "O"])
def test_delta_refuses_types_without_differences(dtype: str) -> None:
    with pytest.raises(InvalidInputError, match="delta takes"):
        Delta(dtype)


@pytest.mark.parametrize("dtype", ["no such type", 7.5])
def test_delta_refuses_what_is_no_type(dtype: Any) -> None:
    with pytest.raises(InvalidInputError, match="not a NumPy type"):
        Delta(dtype)


@pytest.mark.parametrize("order", [0, 3, 1.0, True, "1", None])
def test_delta_refuses_other_orders(order: Any) -> None:
    with pytest.raises(InvalidInputError, match="order must be 1 or 2"):
        Delta("i8", order=order)


@pytest.mark.parametrize("elementsize", [0, -8, 8.0, True, None])
def test_bitshuffle_refuses_other_element_sizes(elementsize: Any) -> None:
    with pytest.raises(InvalidInputError, match="elementsize"):
        Bitshuffle(elementsize)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c16", "S3", "U1", "V4"])
def test_varint_refuses_what_is_no_integer(dtype: str) -> None:
    with pytest.raises(InvalidInputError, match="varint takes"):
        Varint().encode(np.zeros(3, dtype))


@pytest.mark.parametrize("codec", [Delta("i8"), Bitshuffle(8), Varint()], ids=repr)
def test_python_objects_are_refused(codec: Codec) -> None:
    with pytest.raises(InvalidInputError, match="objects"):
        codec.encode(np.array(["a", None], object))


# --- registration and Zarr v2 -------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "config"),
    [
        (Delta(">f4", order=2), {"id": "iot_archive.delta", "dtype": ">f4", "order": 2}),
        (Delta("M8[us]"), {"id": "iot_archive.delta", "dtype": "<M8[us]", "order": 1}),
        (Bitshuffle(4), {"id": "iot_archive.bitshuffle", "elementsize": 4}),
        (Varint(), {"id": "iot_archive.varint"}),
    ],
)
def test_configurations_are_fixed_and_found_by_numcodecs(
    codec: Codec, config: dict[str, Any]
) -> None:
    assert codec.get_config() == config
    assert numcodecs.get_codec(dict(config)) == codec
    assert pickle.loads(pickle.dumps(codec)) == codec


def test_order_is_optional_in_a_delta_configuration() -> None:
    assert numcodecs.get_codec({"id": "iot_archive.delta", "dtype": "<i4"}) == Delta("i4")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["|b1", "<i4", ">i4", "<f8", ">f8", "<M8[us]", "<u2"])
def test_filters_serve_zarr_v2_arrays(dtype: str, order: Any) -> None:
    values = adversarial(dtype, 200).reshape(20, 10)
    width = np.dtype(dtype).itemsize
    chains: list[Any] = [[Delta(dtype), Varint()], [Delta(dtype, order=2), Bitshuffle(width)]]
    for filters in chains:
        store: dict[str, Any] = {}
        array = zarr.create_array(
            store,
            shape=values.shape,
            chunks=(8, 10),
            dtype=dtype,
            zarr_format=2,
            order=order,
            filters=filters,
            compressors=numcodecs.Zstd(level=1),
        )
        array[:] = values
        read = zarr.open_array(store, mode="r")
        assert np.asarray(read[:]).tobytes() == values.tobytes()


# --- start-up -----------------------------------------------------------------------------


def test_importing_the_filters_loads_no_compiler() -> None:
    program = (
        "import sys, pipeline.codecs.filters, pipeline.codecs.zarr_filters; "
        "print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_varint_size_follows_the_values_not_the_type(dtype: str) -> None:
    assert Varint().encode(np.full(50, 63, dtype)).size == 10 + 50
