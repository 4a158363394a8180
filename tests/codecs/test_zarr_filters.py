"""The filters work in Zarr v3 arrays, in every sensible chain, for readers who only have Zarr."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.abc.codec import SupportsSyncCodec
from zarr.codecs import BloscCodec, BytesCodec, TransposeCodec, ZstdCodec
from zarr.codecs.numcodecs import LZ4
from zarr.registry import get_codec_class
from zarr.storage import LocalStore, MemoryStore

from pipeline.codecs.filters import Varint
from pipeline.codecs.zarr_filters import BitshuffleCodec, DeltaCodec, VarintCodec
from pipeline.errors import CorruptBlockError, InvalidInputError
from tests.codecs.filter_arrays import DTYPES, adversarial, sensor_values, steady_times

PIPELINES = [
    "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "zarr.core.codec_pipeline.FusedCodecPipeline",
]
# Filters, serializer, compressors; each chain takes any type.
CHAINS: dict[str, tuple[list[Any], Any, list[Any]]] = {
    "delta": ([DeltaCodec()], BytesCodec(), []),
    "delta, zstd": ([DeltaCodec()], BytesCodec(), [ZstdCodec(level=3)]),
    "delta 2, lz4": ([DeltaCodec(order=2)], BytesCodec(), [LZ4()]),
    "delta, big-endian bytes": ([DeltaCodec()], BytesCodec(endian="big"), [ZstdCodec()]),
    "delta, varint": ([DeltaCodec()], VarintCodec(), []),
    "delta 2, varint, zstd": ([DeltaCodec(order=2)], VarintCodec(), [ZstdCodec()]),
    "delta, varint, blosc": ([DeltaCodec()], VarintCodec(), [BloscCodec(cname="lz4")]),
    "bitshuffle, zstd": ([], BytesCodec(), [BitshuffleCodec(), ZstdCodec()]),
    "bitshuffle given, lz4": ([], BytesCodec(), [BitshuffleCodec(elementsize=3), LZ4()]),
    "delta, bitshuffle, zstd": ([DeltaCodec()], BytesCodec(), [BitshuffleCodec(), ZstdCodec()]),
    "delta, varint, bitshuffle": ([DeltaCodec()], VarintCodec(), [BitshuffleCodec(elementsize=1)]),
    "delta, delta, varint": ([DeltaCodec(), DeltaCodec()], VarintCodec(), []),
    "transpose, delta, varint": ([TransposeCodec(order=(1, 0)), DeltaCodec()], VarintCodec(), []),
}


def written(
    values: NDArray[Any], chain: tuple[list[Any], Any, list[Any]], store: Any, **options: Any
) -> zarr.Array[Any]:
    filters, serializer, compressors = chain
    options.setdefault("chunks", tuple(-(-side // 2) or 1 for side in values.shape))
    array = zarr.create_array(
        store,
        shape=values.shape,
        dtype=values.dtype,
        filters=filters,
        serializer=serializer,
        compressors=compressors,
        config={"write_empty_chunks": True},
        **options,
    )
    array[...] = values
    return array


def assert_same(read: Any, values: NDArray[Any]) -> None:
    got = np.asarray(read)
    # Zarr v3 metadata knows no byte order: arrays are opened in the machine's own.
    wanted = values.astype(values.dtype.newbyteorder("="))
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    assert got.tobytes() == wanted.tobytes()


# --- round trips --------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline_path", PIPELINES, ids=["batched", "fused"])
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_every_chain_brings_every_type_back(chain: Any, pipeline_path: str) -> None:
    with zarr.config.set({"codec_pipeline.path": pipeline_path}):
        for dtype in DTYPES:
            values = adversarial(dtype, 21 * 10).reshape(21, 10)
            store = MemoryStore()
            written(values, chain, store)
            assert_same(zarr.open_array(store, mode="r")[...], values)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (2, 0), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["?", "u2", "f8"])
@pytest.mark.parametrize("name", ["delta 2, varint, zstd", "delta, bitshuffle, zstd"])
def test_every_shape_comes_back(shape: tuple[int, ...], dtype: str, name: str) -> None:
    values = adversarial(dtype, 24)[: int(np.prod(shape))].reshape(shape)
    store = MemoryStore()
    written(values, CHAINS[name], store)
    assert_same(zarr.open_array(store, mode="r")[...], values)


@pytest.mark.parametrize("dtype", ["?", "i8", ">i4", "M8[us]", "u2"])
def test_varint_needs_no_filter_for_integers(dtype: str) -> None:
    values = adversarial(dtype, 50)
    store = MemoryStore()
    written(values, ([], VarintCodec(), [ZstdCodec()]), store)
    assert_same(zarr.open_array(store, mode="r")[...], values)


@pytest.mark.parametrize("name", ["delta, varint, blosc", "delta, bitshuffle, zstd"])
def test_arrays_in_fortran_order_and_with_gaps_come_back(name: str) -> None:
    values = adversarial("f8", 240).reshape(12, 20)
    for layout in (np.asfortranarray(values), values[::2, ::-3], values.T):
        store = MemoryStore()
        with zarr.config.set({"array.order": "F"}):
            written(layout, CHAINS[name], store)
            assert_same(zarr.open_array(store, mode="r")[...], layout)


@pytest.mark.parametrize("name", ["delta, varint", "delta, bitshuffle, zstd"])
def test_partial_reads_and_writes_of_chunks(name: str) -> None:
    values = sensor_values(100)
    store = MemoryStore()
    array = written(values, CHAINS[name], store, chunks=(30,))
    array[25:65] = values[:40]
    values[25:65] = values[:40].copy()
    assert_same(zarr.open_array(store, mode="r")[17:93], values[17:93])


@pytest.mark.parametrize("name", ["delta, varint", "delta, bitshuffle, zstd"])
def test_inside_shards(name: str) -> None:
    values = sensor_values(96)
    values[24:36] = 7.0
    store = MemoryStore()
    written(values, CHAINS[name], store, chunks=(12,), shards=(48,))
    assert_same(zarr.open_array(store, mode="r")[...], values)


@pytest.mark.filterwarnings("ignore:Combining a `sharding_indexed` codec")
def test_delta_before_a_shard_keeps_constant_inner_chunks() -> None:
    values = np.round(sensor_values(96) * 10).astype("i8")
    values[24:48] = 200
    inner = zarr.codecs.ShardingCodec(chunk_shape=(12,), codecs=[VarintCodec()])
    store = MemoryStore()
    written(values, ([DeltaCodec()], inner, []), store, chunks=(48,), fill_value=200)
    assert_same(zarr.open_array(store, mode="r")[...], values)


def test_missing_chunks_read_as_the_fill_value() -> None:
    array = zarr.create_array(
        {}, shape=(20,), chunks=(5,), dtype="f8", fill_value=np.nan, filters=[DeltaCodec()]
    )
    array[5:10] = 1.5
    expected = np.full(20, np.nan)
    expected[5:10] = 1.5
    assert_same(array[:], expected)


def test_another_process_reads_a_folder_with_plain_zarr(tmp_path: Path) -> None:
    values = sensor_values(500)
    written(values, CHAINS["delta 2, varint, zstd"], LocalStore(tmp_path / "a.zarr"))
    program = (
        "import sys, zarr, numpy as np; "
        "sys.stdout.buffer.write(np.asarray(zarr.open_array(sys.argv[1], mode='r')[:]).tobytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.zarr")], capture_output=True, check=True
    )
    assert done.stdout == values.tobytes()


def test_steady_timestamps_shrink_to_almost_nothing() -> None:
    times = steady_times(4096).astype("i8")
    array = written(
        times, ([DeltaCodec(order=2)], VarintCodec(), [ZstdCodec()]), MemoryStore(), chunks=(4096,)
    )
    assert array.nbytes_stored() * 20 < times.nbytes


# --- metadata -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "entry"),
    [
        (DeltaCodec(order=2), {"name": "iot_archive.delta", "configuration": {"order": 2}}),
        (BitshuffleCodec(), {"name": "iot_archive.bitshuffle"}),
        (
            BitshuffleCodec(elementsize=4),
            {"name": "iot_archive.bitshuffle", "configuration": {"elementsize": 4}},
        ),
        (VarintCodec(), {"name": "iot_archive.varint"}),
    ],
)
def test_names_and_configurations_are_fixed(codec: Any, entry: dict[str, Any]) -> None:
    found = get_codec_class(entry["name"])
    assert found is type(codec)
    assert codec.to_dict() == entry
    assert found.from_dict(entry) == codec
    assert isinstance(codec, SupportsSyncCodec)


def test_the_order_of_delta_may_be_left_out() -> None:
    assert DeltaCodec.from_dict({"name": "iot_archive.delta"}) == DeltaCodec(order=1)


def test_metadata_holds_the_element_size_the_chunks_have(tmp_path: Path) -> None:
    written(np.zeros(8, "f4"), CHAINS["delta, bitshuffle, zstd"], LocalStore(tmp_path))
    codecs = json.loads((tmp_path / "zarr.json").read_text())["codecs"]
    assert [codec["name"] for codec in codecs] == [
        "iot_archive.delta",
        "bytes",
        "iot_archive.bitshuffle",
        "zstd",
    ]
    assert codecs[2]["configuration"] == {"elementsize": 4}


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeltaCodec(order=3),
        lambda: BitshuffleCodec(elementsize=0),
        lambda: DeltaCodec.from_dict(
            {"name": "iot_archive.delta", "configuration": {"order": "1"}}
        ),
    ],
)
def test_impossible_configurations_are_refused(make: Any) -> None:
    with pytest.raises(InvalidInputError):
        make()


def test_arrays_of_unsuitable_types_are_refused_when_created() -> None:
    with pytest.raises(InvalidInputError, match=r"put iot_archive\.delta before it"):
        written(np.zeros(4), ([], VarintCodec(), []), MemoryStore())
    with pytest.raises(InvalidInputError, match="leave the filter out"):
        written(np.zeros(4, "c16"), CHAINS["delta"], MemoryStore())


def test_sizes_are_known_where_they_are_fixed() -> None:
    array = written(np.zeros(8), CHAINS["delta, bitshuffle, zstd"], MemoryStore(), chunks=(8,))
    spec: Any = None
    assert array.shape == (8,)
    assert DeltaCodec().is_fixed_size
    assert DeltaCodec().compute_encoded_size(64, spec) == 64
    assert BitshuffleCodec().is_fixed_size
    assert BitshuffleCodec().compute_encoded_size(64, spec) == 64
    assert not VarintCodec().is_fixed_size
    with pytest.raises(InvalidInputError, match="no fixed size"):
        VarintCodec().compute_encoded_size(64, spec)


# --- damaged chunks -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "stored", "reason"),
    [
        ("i8", np.arange(5), r"5 values of int64.*\(8,\) of int64"),
        ("i8", np.arange(8, dtype="i4"), "8 values of int32"),
        ("u8", np.arange(8), "8 values of int64"),
        ("i8", np.arange(8, dtype=">i8"), "8 values of >i8"),
    ],
)
def test_a_chunk_of_another_array_is_refused(
    tmp_path: Path, dtype: str, stored: NDArray[Any], reason: str
) -> None:
    written(np.arange(8).astype(dtype), ([], VarintCodec(), []), LocalStore(tmp_path), chunks=(8,))
    (tmp_path / "c" / "0").write_bytes(Varint().encode(stored).tobytes())
    with pytest.raises(CorruptBlockError, match=reason):
        zarr.open_array(LocalStore(tmp_path), mode="r")[:]


def test_a_truncated_chunk_is_refused(tmp_path: Path) -> None:
    written(sensor_values(50), CHAINS["delta, varint"], LocalStore(tmp_path), chunks=(50,))
    chunk = tmp_path / "c" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(CorruptBlockError, match="ends before"):
        zarr.open_array(LocalStore(tmp_path), mode="r")[:]


def test_a_chunk_of_booleans_that_are_none_is_refused(tmp_path: Path) -> None:
    written(np.ones(4, "?"), CHAINS["delta"], LocalStore(tmp_path), chunks=(4,))
    (tmp_path / "c" / "0").write_bytes(b"\x01\x01\x01\x01")
    with pytest.raises(CorruptBlockError, match="booleans"):
        zarr.open_array(LocalStore(tmp_path), mode="r")[:]
