"""Watermarks and limits against an independent computation, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.policies import Limit, Otherwise
from pipeline.ingest.timeliness import Timeliness
from pipeline.ingest.watermarks import Watermarks

BATCHES = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 200)), min_size=0, max_size=30),
    min_size=1,
    max_size=6,
)


def by_hand(
    batches: Any, disorder: int, late: Limit, future: Limit, now: int
) -> tuple[list[int], list[set[int]], list[dict[int, int]], dict[int, int]]:
    newest: dict[int, int] = {}
    counts, rejected, moved = [], [], []
    for batch in batches:
        count, out, times = 0, set(), {}
        for row, (device, time) in enumerate(batch):
            stored = time
            if future.within is not None and time > now + future.within:
                if future.otherwise is Otherwise.QUARANTINE:
                    out.add(row)
                    continue
                stored = now + row
            behind = newest[device] - disorder - stored if device in newest else 0
            if late.within is not None and behind > late.within:
                if late.otherwise is Otherwise.QUARANTINE:
                    out.add(row)
                    continue
                stored = now + row
            elif behind > 0:
                count += 1
            if stored != time:
                times[row] = stored
            newest[device] = max(newest.get(device, stored), stored)
        counts.append(count)
        rejected.append(out)
        moved.append(times)
    return counts, rejected, moved, newest


LIMITS = st.one_of(
    st.just(Limit()), st.builds(Limit, st.integers(0, 60), st.just(Otherwise.QUARANTINE))
)


@given(batches=BATCHES, disorder=st.integers(0, 40), late=LIMITS, future=LIMITS)
def test_rows_are_judged_as_one_by_one(
    batches: Any, disorder: int, late: Limit, future: Limit
) -> None:
    now = 120
    counts, rejected, _, newest = by_hand(batches, disorder, late, future, now)
    marks, judge = Watermarks(disorder), Timeliness(late, future)
    for batch, count, out in zip(batches, counts, rejected, strict=True):
        codes = marks.codes_of([f"d{device}" for device, _ in batch])
        found = judge.judge(marks, codes, np.array([t for _, t in batch], np.int64), now)
        assert (found.late, set(found.rejected), found.time) == (count, out, None)
    for device in range(5):
        assert marks.newest(f"d{device}") == newest.get(device)


def test_clocks_that_are_wrong_may_be_replaced_by_the_time_of_receipt() -> None:
    hour, now = 3_600_000_000, 1_700_000_000_000_000
    marks = Watermarks(0)
    judge = Timeliness(Limit(hour, Otherwise.RECEIVE_TIME), Limit(hour, Otherwise.RECEIVE_TIME))
    first = judge.judge(marks, marks.codes_of(["a"]), np.array([now]), now)
    assert first.time is None
    times = np.array([5, now - 60, now + 10 * hour, now + 7], np.int64)
    found = judge.judge(marks, marks.codes_of(["a"] * 4), times, now + 1)
    assert found.time is not None
    assert found.time.tolist() == [now + 1, now - 60, now + 3, now + 7]
    assert (found.late, found.restamped, found.rejected) == (1, 2, {})


def test_reasons_say_by_how_much_and_when() -> None:
    judge = Timeliness(Limit(60_000_000), Limit(60_000_000))
    marks = Watermarks(1_000_000)
    times = np.array([0, 500_000_000, 100_000_000], np.int64)
    found = judge.judge(marks, marks.codes_of(["a", "a", "a"]), times, 200_000_000)
    assert list(found.rejected) == [1]
    assert "more than 60 s ahead of its receipt at 1970-01-01T00:03:20" in found.rejected[1]
    found = judge.judge(marks, marks.codes_of(["a"]), np.array([10_000_000]), 200_000_000)
    assert "more than 60 s behind the watermark" in found.rejected[0]


def test_watermarks_go_on_from_what_the_archive_has() -> None:
    marks = Watermarks(0)
    never = np.iinfo(np.int64).min
    marks.start_from(["a", "b"], np.array([1000, never]))
    assert (marks.newest("a"), marks.newest("b"), marks.newest("c")) == (1000, None, None)
    met = marks.before(marks.codes_of(["a", "b"]), np.array([999, 1]))
    assert met is not None
    assert met[0] == 1000


def test_devices_that_are_behind_others_have_watermarks_of_their_own() -> None:
    marks = Watermarks(10)
    codes = marks.codes_of(["fast", "slow"])
    marks.passed(codes, np.array([1_000_000, 100]))
    assert marks.before(codes[1:], np.array([95])) is None
    assert marks.before(codes[1:], np.array([89])) is not None
    marks.passed(codes[:0], np.zeros(0, np.int64))
    assert marks.newest("slow") == 100


def test_many_devices() -> None:
    marks = Watermarks(0)
    names = [f"d{at}" for at in range(1000)]
    codes = marks.codes_of(names)
    marks.passed(codes, np.arange(1000))
    assert len(marks) == 1000
    for hour in range(20):
        marks.passed(codes, np.arange(1000) + 3600 * hour)
    assert marks.newest("d7") == 7 + 3600 * 19
    assert marks.newest("d999") == 999 + 3600 * 19


@pytest.mark.parametrize("value", ["accept", "1 h", {"within": "1 h", "else": "receive_time"}])
def test_limits_are_read(value: Any) -> None:
    found = Limit.parse(value, "late")
    assert found.within == (None if value == "accept" else 3_600_000_000)
    assert Limit.parse(found, "late") is found
