from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa

from pipeline.model.arrow_arrays import flat, null_mask, plain_texts, raw_values, value_texts


def test_chunks_are_joined_and_single_chunks_are_not_copied() -> None:
    one = pa.array([1, 2])
    assert flat(pa.chunked_array([one])).equals(one)
    assert flat(pa.chunked_array([[1], [2]])).to_pylist() == [1, 2]
    mixed = pa.chunked_array(
        [pa.array(["a"]).dictionary_encode(), pa.array(["b"]).dictionary_encode()]
    )
    assert flat(mixed).to_pylist() == ["a", "b"]


def test_raw_values_respect_slices_and_types() -> None:
    assert raw_values(pa.array([1.5, None, 2.5]).slice(2)).tolist() == [2.5]
    assert raw_values(pa.array([True, None, False])).tolist() == [True, False, False]
    assert raw_values(pa.array([], pa.int8())).dtype == np.int8
    assert raw_values(pa.array([1], pa.date32())).dtype == np.int32
    assert raw_values(pa.array([1.5], pa.float16())).tolist() == [1.5]


def test_null_masks() -> None:
    assert null_mask(pa.array([1, 2])) is None
    mask = null_mask(pa.array([1, None]))
    assert mask is not None
    assert mask.tolist() == [False, True]
    holes = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None]))
    mask = null_mask(holes)
    assert mask is not None
    assert mask.tolist() == [False, True]


def test_texts_of_values_lose_nothing() -> None:
    assert value_texts(pa.array([0.1, None])) == ["0.1", "null"]
    assert value_texts(pa.array([b"\xff"])) == ["ff"]
    when = datetime(2024, 1, 1)  # noqa: DTZ001
    assert value_texts(pa.array([when], pa.timestamp("us"))) == ["2024-01-01T00:00:00.000000"]
    assert value_texts(pa.array([1], pa.timestamp("ns", tz="UTC"))) == [
        "1970-01-01T00:00:00.000000001Z"
    ]
    assert plain_texts(pa.array([1, None])).to_pylist() == ["1", None]
