"""Device blocks of tag values: no two values share one, and no code is handed out twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.partitioning.device_blocks import device_blocks
from pipeline.partitioning.reservations import Reservations

values = st.sampled_from(["", "north", "south", "läuft"])
batches = st.lists(st.lists(values, max_size=12), max_size=6)


@given(batches, st.integers(1, 5))
def test_every_device_has_a_code_of_its_own_in_a_block_of_its_value(
    content: list[list[str]], size: int
) -> None:
    reserved, given_out = Reservations.none(size), dict[int, str]()
    for batch in content:
        codes, reserved = reserved.allocate(batch)
        assert not given_out.keys() & set(codes.tolist())
        given_out |= dict(zip(codes.tolist(), batch, strict=True))
    assert len(given_out) == sum(map(len, content))
    assert reserved.codes().tolist() == sorted(given_out)
    assert reserved.positions == max(given_out, default=-1) + 1
    assert int(reserved.used.sum()) == len(given_out)
    for code, value in given_out.items():
        assert reserved.values[device_blocks(np.array([code]), size)[0] - 1] == value
    for value in set(given_out.values()):
        # As few blocks as hold them: only the last one of a value has codes left.
        mine = [used for used, of in zip(reserved.used.tolist(), reserved.values, strict=True) if of == value]  # fmt: skip
        assert mine[:-1] == [size] * (len(mine) - 1)


@given(batches, st.integers(1, 5), st.sets(values), st.data())
def test_devices_of_a_value_are_where_they_are_looked_for(
    content: list[list[str]], size: int, wanted: set[str], data: st.DataObject
) -> None:
    codes, reserved = Reservations.none(size).allocate(
        [text for batch in content for text in batch]
    )
    tags = dict(zip(codes.tolist(), [text for batch in content for text in batch], strict=True))
    moved = data.draw(st.dictionaries(st.sampled_from(sorted(tags)), values)) if tags else {}
    after = reserved.with_tags(np.array(list(moved), np.int64), list(moved.values()))
    assert not reserved.strays.any()
    tags |= moved
    certain, uncertain = (found.tolist() for found in after.holding(wanted))
    assert not set(certain) & set(uncertain)
    assert all(one < two for found in (certain, uncertain) for one, two in pairwise(found))
    having = {code for code, value in tags.items() if value in wanted}
    assert set(certain) <= having <= {*certain, *uncertain}
    if not moved:
        assert uncertain == []


def test_codes_of_a_new_device_go_on_in_the_block_that_is_open() -> None:
    codes, reserved = Reservations.none(3).allocate(["a", "b", "a"])
    assert codes.tolist() == [0, 3, 1]
    codes, reserved = reserved.allocate(["a", "a", "b"])
    assert codes.tolist() == [2, 6, 4]
    assert reserved.values == ("a", "b", "a")
    assert reserved.codes(np.array([2])).tolist() == [3, 4]
    assert len(reserved) == 3
