"""Short lists are read in one call, and what is odd about them is left to the long way."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.codecs.block import decode_block, encode_block
from pipeline.codecs.cursor import Cursor
from pipeline.codecs.lists import read_lists
from pipeline.codecs.sections import apply_corrections, write_corrections, write_mask
from tests.codecs.block_columns import same_bits

_ROWS = 30_000


def _masks() -> dict[str, NDArray[np.bool_]]:
    rng = np.random.default_rng(5)
    masks = {name: np.zeros(_ROWS, np.bool_) for name in ("few", "some", "blocks", "none")}
    masks["few"][[3, 17, 29_999]] = True
    masks["some"][rng.choice(_ROWS, 90, replace=False)] = True
    for start in rng.choice(_ROWS - 50, 40, replace=False):
        masks["blocks"][start : start + 50] = True
    masks["most"] = ~masks["some"]
    return masks


@pytest.mark.parametrize("name", sorted(_masks()))
def test_masks_are_read_in_one_call(name: str) -> None:
    mask = _masks()[name]
    cursor = Cursor(memoryview(write_mask(mask)))
    lists = read_lists(cursor, mask.size, 0)
    assert lists is not None
    assert cursor.left == 0
    assert lists.each == np.count_nonzero(mask)
    turns = np.arange(lists.lengths.size) % 2 == 1
    np.testing.assert_array_equal(np.repeat(turns, lists.lengths), mask)


@pytest.mark.parametrize("off", [2, 30, 600])
def test_corrections_are_read_in_one_call(off: int) -> None:
    rng = np.random.default_rng(off)
    values = rng.normal(size=_ROWS)
    rows = np.sort(rng.choice(_ROWS, off, replace=False))
    restored = values.copy()
    restored[rows] = np.nextafter(values[rows], 9.0)
    data = write_corrections(values[rows], restored[rows], rows, _ROWS)
    assert read_lists(Cursor(memoryview(data)), _ROWS, 1) is not None
    apply_corrections(Cursor(memoryview(data)), restored)
    np.testing.assert_array_equal(restored, values)


def test_damage_is_noticed_or_harmless() -> None:
    rng = np.random.default_rng(7)
    for mask in _masks().values():
        sound = write_mask(mask)
        for _ in range(300):
            data = bytearray(sound[: rng.integers(1, len(sound) + 1)])
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            lists = read_lists(Cursor(memoryview(bytes(data))), mask.size, 0)
            if lists is not None:
                assert lists.lengths.sum() == mask.size
                assert (lists.lengths >= 0).all()
                assert lists.lengths[1::2].sum() == lists.each


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "u4", "i2", "u1"])
@pytest.mark.parametrize("kind", ["same", "walk", "noise"])
@pytest.mark.parametrize("there", [1, 5, 90, 1500])
def test_few_rows_with_a_value_come_back(dtype: str, kind: str, there: int) -> None:
    rng = np.random.default_rng(there)
    walk = {"same": np.zeros(_ROWS), "walk": rng.normal(size=_ROWS).cumsum()}
    values = (walk.get(kind, rng.normal(size=_ROWS)) * 8 + 100).round(1).astype(dtype)
    valid = np.zeros(_ROWS, np.bool_)
    valid[rng.choice(_ROWS, there, replace=False)] = True
    block = encode_block(values, valid)
    whole = decode_block(block)
    assert whole.valid is not None
    np.testing.assert_array_equal(whole.valid, valid)
    assert same_bits(whole.values[valid], values[valid])
    for start, stop in ((0, _ROWS - 1), (1000, 20_000)):
        part = decode_block(block, rows=(start, stop))
        assert same_bits(part.values, whole.values[start:stop])
        np.testing.assert_array_equal(part.valid, valid[start:stop])
