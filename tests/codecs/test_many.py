"""Blocks that are decoded together hold what each of them holds alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config
from numpy.typing import NDArray

from pipeline.codecs import many
from pipeline.codecs.block import decode_block, encode_block
from pipeline.codecs.many import decode_blocks
from pipeline.errors import CorruptBlockError
from tests.codecs.block_columns import LONG, any_column, same_bits, sensor, times, walk
from tests.codecs.block_frames import resealed

_INTERPRETED = config.DISABLE_JIT  # type: ignore[attr-defined]
ROWS = LONG // 8
RNG = np.random.default_rng(8)

type Pair = tuple[NDArray[Any], NDArray[np.bool_] | None]


def _gaps(rows: int, missing: int) -> NDArray[np.bool_]:
    valid = np.ones(rows, np.bool_)
    valid[np.random.default_rng(missing).choice(rows, missing, replace=False)] = False
    return valid


def _levels(rows: int, number: int) -> NDArray[np.float64]:
    """Return values of few distinct kinds that each stay for a while."""
    rng = np.random.default_rng(number)
    kinds = np.round(rng.uniform(0, 1e6, number), 3)
    return np.repeat(kinds[rng.integers(0, number, rows)], rng.integers(1, 40, rows))[:rows]


USUAL: dict[str, Pair] = {
    "decimals": (sensor(ROWS), None),
    "singles": (sensor(ROWS).astype(np.float32), None),
    "doubles that were single": (sensor(ROWS).astype(np.float32).astype(np.float64), None),
    "few missing": (sensor(ROWS), _gaps(ROWS, 9)),
    "some missing": (sensor(ROWS), _gaps(ROWS, ROWS // 20)),
    "many missing": (sensor(ROWS).astype(np.float32), _gaps(ROWS, 3 * ROWS // 4)),
    "whole numbers": (walk(ROWS, "int64") * 7 + 3, None),
    "whole numbers missing": (walk(ROWS, "int32"), _gaps(ROWS, 50)),
    "narrow": (walk(ROWS, "int16"), _gaps(ROWS, ROWS // 2)),
    "narrowest": (walk(ROWS, "uint8"), _gaps(ROWS, 50)),
    "wide": (RNG.integers(0, 1 << 40, ROWS).cumsum().astype(np.uint64), None),
    "devices": (np.repeat(np.arange(40, dtype=np.int32), ROWS // 40), None),
    "devices of any length": (np.sort(RNG.integers(0, 60, ROWS)).astype(np.int32), None),
    "times": (times(40, ROWS // 40), None),
    "times with gaps": (np.sort(RNG.integers(0, 1 << 20, ROWS)) * 1_000_000, None),
    "levels": (_levels(ROWS, 1500), None),
    "levels of whole numbers": (_levels(ROWS, 30).astype(np.int16), _gaps(ROWS, 30)),
    "levels in steps": (np.repeat(np.arange(ROWS // 50) * 11, 50).astype(np.uint16), None),
}
"""Columns whose blocks need not be decoded one by one."""

ODD: dict[str, Pair] = {
    "constant": (np.full(ROWS, 21.5), None),
    "linear": (np.arange(ROWS) * 60_000_000, None),
    "noise": (RNG.normal(size=ROWS), None),
    "levels of floats": (_levels(ROWS, 20).astype(np.float32), None),
    "levels of decimals": (np.repeat(sensor(ROWS // 50), 50).astype(np.float32), None),
    "bools": (RNG.random(ROWS) < 0.1, None),
    "nothing": (np.empty(0, np.int64), None),
    "all missing": (np.zeros(ROWS), np.zeros(ROWS, np.bool_)),
    "corrected": (np.where(np.arange(ROWS) % 999, sensor(ROWS), np.pi), _gaps(ROWS, 9)),
}


def _several(pair: Pair) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Return the column cut into blocks of unequal length."""
    values, valid = pair
    cuts = [0, len(values) // 2, len(values) // 2 + min(700, len(values) // 4), len(values)]
    blocks = []
    for start, stop in pairwise(cuts):
        part = None if valid is None else valid[start:stop]
        blocks.append(np.frombuffer(encode_block(values[start:stop], part), np.uint8))
    return blocks, np.diff(cuts)


def _check(pair: Pair, ranges: NDArray[np.int64] | None) -> int:
    """Compare with blocks decoded alone; return how many were not decoded together."""
    blocks, rows = _several(pair)
    where = [f"c/{at}" for at in range(len(blocks))]
    with patch.object(many, "decode_block", wraps=decode_block) as alone:
        found = decode_blocks(blocks, rows, pair[0].dtype, where, ranges)
    wanted = np.stack([np.zeros_like(rows), rows]) if ranges is None else ranges
    parts = [
        decode_block(block, rows=(start, stop))
        for block, start, stop in zip(blocks, *wanted.tolist(), strict=True)
    ]
    assert same_bits(found.values, np.concatenate([part.values for part in parts]))
    told = [
        np.ones(len(part.values), np.bool_) if part.valid is None else part.valid for part in parts
    ]
    valid = np.ones(len(found.values), np.bool_) if found.valid is None else found.valid
    np.testing.assert_array_equal(valid, np.concatenate(told))
    return int(alone.call_count)


@pytest.mark.parametrize("name", USUAL)
def test_usual_blocks_are_decoded_in_one_call(name: str) -> None:
    # Shorter columns, as they are where loops are interpreted, may be stored in other ways.
    assert _check(USUAL[name], None) == 0 or _INTERPRETED


@pytest.mark.parametrize("name", ODD)
def test_other_blocks_are_decoded_all_the_same(name: str) -> None:
    _check(ODD[name], None)


@pytest.mark.parametrize("name", [*USUAL, *ODD])
def test_some_rows_of_each_block(name: str) -> None:
    pair = (USUAL | ODD)[name]
    rng = np.random.default_rng(len(name))
    _, rows = _several(pair)
    for _ in range(1 if _INTERPRETED else 4):
        _check(pair, np.sort(rng.integers(0, rows + 1, (2, len(rows))), axis=0))
    _check(pair, np.stack([rows, rows]))


def test_where_a_float_is_missing_need_not_be_told() -> None:
    blocks, rows = _several(USUAL["some missing"])
    where = [""] * len(blocks)
    told = decode_blocks(blocks, rows, np.dtype(np.float64), where)
    found = decode_blocks(blocks, rows, np.dtype(np.float64), where, marked=False, passing=True)
    assert found.valid is None
    assert told.valid is not None
    np.testing.assert_array_equal(np.isnan(found.values), ~told.valid)
    assert same_bits(found.values, told.values)


@given(any_column())
def test_any_column(column: Pair) -> None:
    values, valid = column
    block = np.frombuffer(encode_block(values, valid), np.uint8)
    found = decode_blocks([block, block], np.array([len(values)] * 2), values.dtype, ["", ""])
    alone = decode_block(block)
    assert same_bits(found.values, np.concatenate([alone.values, alone.values]))
    if alone.valid is None:
        assert found.valid is None or found.valid.all()
    else:
        assert found.valid is not None
        np.testing.assert_array_equal(found.valid, np.tile(alone.valid, 2))


def test_no_blocks_are_no_rows() -> None:
    found = decode_blocks([], np.zeros(0, np.int64), np.dtype(np.float32), [])
    assert found.values.dtype == np.float32
    assert len(found.values) == 0


@pytest.mark.parametrize(("rows", "dtype"), [(ROWS + 1, np.float64), (ROWS, np.float32)])
def test_a_block_of_other_rows_is_named(rows: int, dtype: type) -> None:
    block = np.frombuffer(encode_block(sensor(ROWS)), np.uint8)
    with pytest.raises(CorruptBlockError, match="rooms/7: holds"):
        decode_blocks([block], np.array([rows]), np.dtype(dtype), ["rooms/7"])


SMALL: dict[str, Pair] = {
    "decimals": (sensor(300), _gaps(300, 20)),
    "few": (sensor(300), _gaps(300, 250)),
    "times": (times(5, 60), None),
    "levels": (_levels(400, 9), None),
}


@pytest.mark.parametrize("name", SMALL)
def test_damage_is_noticed_and_behind_good_checksums_does_no_harm(name: str) -> None:
    values, valid = SMALL[name]
    block = encode_block(values, valid)
    rows = np.array([len(values)])
    for at in range(0, len(block), 9 if _INTERPRETED else 1):
        damaged = bytearray(block)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(CorruptBlockError, match="chunk/7"):
            _decode(damaged, rows, values)
        if at in range(7, 10) or at < 4:
            continue
        for damage in (1, 0x80, 0xFF):
            damaged = bytearray(block)
            damaged[at] ^= damage
            forged = resealed(bytes(damaged), block)
            try:
                found = _decode(forged, rows, values)
            except CorruptBlockError:
                continue
            assert found.shape == values.shape


def _decode(data: bytes | bytearray, rows: NDArray[np.int64], like: NDArray[Any]) -> NDArray[Any]:
    octets = np.frombuffer(bytes(data), np.uint8)
    return decode_blocks([octets], rows, like.dtype, ["chunk/7"]).values


@given(st.binary(max_size=120))
def test_random_bytes_are_refused(data: bytes) -> None:
    octets = np.frombuffer(b"IOTB\x02" + data, np.uint8)
    with pytest.raises(CorruptBlockError):
        decode_blocks([octets], np.array([5]), np.dtype(np.float64), [""])
