"""Columns of texts are what Zarr reads and writes, chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from pipeline.archive.chunk_io import chunk_key, put_many
from pipeline.archive.text_columns import TEXTS_PER_CHUNK, TextColumn, TextReader, write_texts
from pipeline.errors import CorruptBlockError
from tests.support import CountingStore

COLUMN = TextColumn("texts", attributes={"long_name": "names"})


def positions(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def test_zarr_reads_what_is_written_and_the_other_way_round() -> None:
    store = MemoryStore()
    COLUMN.create(store)
    write_texts(store, {"texts": (positions(1, 5000, 0), ["b", "läuft\0", "a"])})
    array = zarr.open_array(store, path="texts", mode="r+")
    assert array.attrs["long_name"] == "names"
    assert np.asarray(array[:3]).tolist() == ["a", "b", ""]
    assert np.asarray(array[4999:5001]).tolist() == ["", "läuft\0"]
    array[2] = "c"
    array[9000] = "z"
    found = TextReader(store, {}).texts(["texts"], positions(9000, 2, 1, 5000, 70_000))[0]
    assert found.tolist() == ["z", "c", "b", "läuft\0", ""]


def test_chunks_are_read_once_and_only_those_that_are_asked_for() -> None:
    store = CountingStore(MemoryStore())
    for name in ("one", "two"):
        TextColumn(name).create(store)
        every = np.arange(3 * TEXTS_PER_CHUNK)
        write_texts(store, {name: (every, [f"{name}{at}" for at in every.tolist()])})
    reader = TextReader(store, {})
    store.forget()
    one, two = reader.texts(["one", "two"], positions(5000, 4999))
    assert (one.tolist(), two.tolist()) == (["one5000", "one4999"], ["two5000", "two4999"])
    reader.texts(["two"], positions(4096))
    assert sorted(store.reads) == ["one/c/1", "two/c/1"]
    assert reader.texts(["one"], positions())[0].tolist() == []


def test_damage_is_told_with_the_chunk() -> None:
    store = MemoryStore()
    COLUMN.create(store)
    write_texts(store, {"texts": (positions(0), ["a"])})
    key = chunk_key("texts", (0,))
    data = bytearray(store._store_dict[key].to_bytes())
    data[20] ^= 1
    put_many(store, {key: bytes(data)})
    with pytest.raises(CorruptBlockError, match=r"texts/c/0: the texts"):
        TextReader(store, {}).texts(["texts"], positions(0))
    other = MemoryStore()
    zarr.create_array(
        other, name="texts", shape=(8,), chunks=(8,), dtype=str,
        compressors=zarr.codecs.ZstdCodec(level=3, checksum=True),
    )[:] = np.array(list("abcdefgh"), dtype=object)  # fmt: skip
    with pytest.raises(CorruptBlockError, match="holds 8 texts"):
        TextReader(other, {}).texts(["texts"], positions(0))
