"""Blocks as the chunks of Zarr arrays, written and read by plain Zarr."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore, MemoryStore

from pipeline.codecs.block import decode_block, encode_block, read_header
from pipeline.codecs.zarr_block import BlockCodec
from pipeline.errors import CorruptBlockError, InvalidInputError
from pipeline.model.dtypes import fill_value
from tests.codecs.block_columns import DTYPE_NAMES, bits_column, same_bits, sensor, times, walk

CHUNK = 4096
FUSED = "zarr.core.codec_pipeline.FusedCodecPipeline"
BATCHED = "zarr.core.codec_pipeline.BatchedCodecPipeline"


def create(store: Any, dtype: str = "float64", shape: tuple[int, ...] = (3, 2, CHUNK)) -> Any:
    return zarr.create_array(
        store,
        shape=shape,
        chunks=(1, 1, CHUNK),
        dtype=dtype,
        fill_value=fill_value(np.dtype(dtype)),
        serializer=BlockCodec(),
        compressors=None,
    )


def chunk(store: MemoryStore, key: str) -> bytes:
    buffer = store._store_dict[key]
    return buffer.to_bytes()


@pytest.mark.parametrize(
    ("dtype", "pipeline"),
    [*((dtype, BATCHED) for dtype in DTYPE_NAMES), ("float64", FUSED), ("int16", FUSED)],
)
def test_every_dtype_through_zarr(dtype: str, pipeline: str) -> None:
    with zarr.config.set({"codec_pipeline.path": pipeline}):
        array = create(MemoryStore(), dtype)
        values = bits_column(CHUNK, dtype)
        array[0, 1, :] = values
        array[2, 0, :300] = walk(300, dtype)
        assert same_bits(array[0, 1, :], values)
        assert same_bits(array[0, 1, 100:2000:7], values[100:2000:7])
        assert array[0, 1, 5] == values[5] or values[5] != values[5]
        assert same_bits(array[2, 0, 250:300], walk(300, dtype)[250:])
        fill = np.full(50, fill_value(np.dtype(dtype)), dtype)
        assert same_bits(array[2, 0, 300:350], fill)
        assert same_bits(array[1, 1, :50], fill)
        assert same_bits(
            array[[0, 2], [1, 0], [7, 299]], np.array([values[7], walk(300, dtype)[299]])
        )
        array[0, 1, 10:20] = walk(10, dtype)
        assert same_bits(
            array[0, 1, 8:22], np.concatenate((values[8:10], walk(10, dtype), values[20:22]))
        )


def test_padding_costs_nothing() -> None:
    store = MemoryStore()
    array = create(store)
    array[1, 0, :300] = sensor(300)
    data = chunk(store, "c/1/0/0")
    assert read_header(data).rows == 300
    assert data == encode_block(sensor(300))


def test_only_the_trailing_fill_values_are_left_out() -> None:
    store = MemoryStore()
    array = create(store, "int32")
    values = walk(100, "int32")
    values[[0, 50, 98, 99]] = fill_value(values.dtype)
    array[0, 0, :100] = values
    assert read_header(chunk(store, "c/0/0/0")).rows == 98
    assert same_bits(array[0, 0, :100], values)
    assert decode_block(chunk(store, "c/0/0/0")).valid is None


def test_a_chunk_of_fill_values_is_an_empty_block() -> None:
    store = MemoryStore()
    with zarr.config.set({"array.write_empty_chunks": True}):
        array = create(store)
        array[0, 0, :] = np.nan
    assert read_header(chunk(store, "c/0/0/0")).rows == 0
    assert np.isnan(array[0, 0, :]).all()


def test_zero_is_no_padding_where_minus_zero_fills() -> None:
    array: Any = zarr.create_array(
        {}, shape=8, chunks=8, dtype="float32", fill_value=-0.0,
        serializer=BlockCodec(), compressors=None,
    )  # fmt: skip
    values = np.array([1, -0.0, 0.0, 0.0, -0.0], np.float32)
    array[:5] = values
    assert same_bits(array[:5], values)


def test_missing_rows_read_as_the_arrays_fill_value(tmp_path: Path) -> None:
    array: Any = zarr.create_array(
        LocalStore(tmp_path), shape=CHUNK, chunks=CHUNK, dtype="int16", fill_value=-1,
        serializer=BlockCodec(), compressors=None,
    )  # fmt: skip
    valid = np.arange(200) % 3 != 0
    values = walk(200, "int16")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0").write_bytes(encode_block(values, valid))
    expected = np.full(CHUNK, -1, np.int16)
    expected[:200][valid] = values[valid]
    assert same_bits(array[:], expected)


def test_big_endian_arrays() -> None:
    array: Any = zarr.create_array(
        {}, shape=100, chunks=60, dtype=">i4", serializer=BlockCodec(), compressors=None
    )
    array[:] = walk(100, "int32")
    assert np.array_equal(array[:], walk(100, "int32"))
    assert np.array_equal(array[55:65], walk(100, "int32")[55:65])


def test_chunks_of_many_dimensions_are_taken_in_c_order() -> None:
    array: Any = zarr.create_array(
        {}, shape=(20, 30), chunks=(8, 30), dtype="float64", fill_value=np.nan,
        serializer=BlockCodec(), compressors=None,
    )  # fmt: skip
    values = sensor(600).reshape(20, 30)
    array[:, :] = values
    assert same_bits(array[:, :], values)
    assert same_bits(array[3:11, 4:6], np.ascontiguousarray(values[3:11, 4:6]))
    array[:, :] = np.asfortranarray(values)
    assert same_bits(array[:, :], values)


def test_plain_zarr_finds_the_codec_by_its_entry_point(tmp_path: Path) -> None:
    array = create(LocalStore(tmp_path), "int64", (2, 1, 2 * CHUNK))
    array[1, 0, 10:5000] = times(1, 4990)
    script = f"""
import sys, zarr
array = zarr.open_array({str(tmp_path)!r}, mode="r")
assert not any(name.startswith("pipeline.archive") for name in sys.modules)
expected = [{times(1, 1)[0]} + 60_000_000 * (n - 10) for n in range(4000, 4200)]
assert array[1, 0, 4000:4200].tolist() == expected
assert array[1, 0, 9] == array[0, 0, 0] == {fill_value(np.dtype("int64"))}
with zarr.config.set({{"codec_pipeline.path": {FUSED!r}}}):
    assert zarr.open_array({str(tmp_path)!r}, mode="r")[1, 0, 10] == {times(1, 1)[0]}
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=tmp_path)


def test_inside_shards() -> None:
    array: Any = zarr.create_array(
        {}, shape=4000, chunks=500, shards=2000, dtype="float64", fill_value=np.nan,
        serializer=BlockCodec(), compressors=None,
    )  # fmt: skip
    array[:3000] = sensor(3000)
    assert same_bits(array[700:2600], sensor(3000)[700:2600])


@pytest.mark.parametrize("dtype", ["complex128", "float16", "datetime64[us]", "U5"])
def test_other_dtypes_are_refused_at_once(dtype: str) -> None:
    with pytest.raises(InvalidInputError, match=r"iot_archive\.block stores bool, int8"):
        zarr.create_array(
            {}, shape=3, chunks=3, dtype=dtype, serializer=BlockCodec(), compressors=None
        )


def test_chunks_longer_than_any_block_are_refused_at_once() -> None:
    with pytest.raises(InvalidInputError, match="up to 1048576 elements"):
        zarr.create_array(
            {}, shape=2**21, chunks=2**21, dtype="int8", serializer=BlockCodec(), compressors=None
        )


def test_encoded_sizes_are_not_known_beforehand() -> None:
    array = create(MemoryStore())
    spec: Any = array.metadata
    with pytest.raises(InvalidInputError, match="depends on the values"):
        BlockCodec().compute_encoded_size(800, spec)


def damaged_array(store: MemoryStore, values: NDArray[Any], dtype: str = "float64") -> Any:
    array = create(store, dtype)
    array[0, 0, :10] = 1
    prototype = zarr.core.buffer.default_buffer_prototype()
    data = prototype.buffer.from_bytes(encode_block(values))
    asyncio.run(store.set("c/0/0/0", data))
    return array


@pytest.mark.parametrize("pipeline", [FUSED, BATCHED])
def test_errors_name_the_chunk(pipeline: str) -> None:
    with zarr.config.set({"codec_pipeline.path": pipeline}):
        long = damaged_array(MemoryStore(), sensor(CHUNK + 1))
        with pytest.raises(
            CorruptBlockError, match=r"c/0/0/0 of 4096 float64 holds a block of 4097"
        ):
            long[0, 0, :]
        other = damaged_array(MemoryStore(), walk(5, "int64"))
        with pytest.raises(CorruptBlockError, match="holds a block of 5 int64"):
            other[0, 0, :]
        store = MemoryStore()
        flipped = damaged_array(store, sensor(50))
        data = bytearray(chunk(store, "c/0/0/0"))
        data[-1] ^= 1
        prototype = zarr.core.buffer.default_buffer_prototype()
        asyncio.run(store.set("c/0/0/0", prototype.buffer.from_bytes(bytes(data))))
        with pytest.raises(CorruptBlockError, match=r"c/0/0/0 is corrupt: .*checksum"):
            flipped[0, 0, 3]


def test_the_name_in_the_metadata_is_for_ever() -> None:
    assert BlockCodec().to_dict() == {"name": "iot_archive.block"}
    assert BlockCodec.from_dict({"name": "iot_archive.block"}) == BlockCodec()
    assert create(MemoryStore()).metadata.to_dict()["codecs"] == ({"name": "iot_archive.block"},)


@pytest.mark.parametrize("pipeline", [BATCHED, FUSED])
def test_only_the_rows_selected_are_decoded(pipeline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[Any] = []

    def spy(data: Any, *, where: str = "", rows: tuple[int, int] | None = None) -> Any:
        wanted.append(rows)
        return decode_block(data, where=where, rows=rows)

    values = sensor(CHUNK - 96)
    with zarr.config.set({"codec_pipeline.path": pipeline}):
        array = create(MemoryStore(), shape=(1, 1, CHUNK))
        array[0, 0, : values.size] = values
        monkeypatch.setattr("pipeline.codecs.zarr_block.decode_block", spy)
        padded = np.append(values, np.full(96, fill_value(np.dtype("float64"))))
        rows = np.random.default_rng(3).integers(0, CHUNK, (40, 2))
        for start, stop in (*np.sort(rows).tolist(), (0, CHUNK), (CHUNK - 5, CHUNK), (7, 7)):
            for step in (1, 5):
                assert same_bits(array[0, 0, start:stop:step], padded[start:stop:step])
                assert same_bits(array[:, :, start:stop:step], padded[None, None, start:stop:step])
        assert (3, 9) not in wanted
        assert same_bits(array[0, 0, 3:9], padded[3:9])
        assert (3, 9) in wanted
        few = np.array([5, 1, 4000])
        assert same_bits(array.oindex[0, 0, few], padded[few])
