"""Sessions go on across what is read at once, and are bounded."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.analytics import sessions
from pipeline.analytics.sessions import Sessions
from pipeline.errors import InvalidInputError


def array(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


def test_sessions_go_on_in_the_next_part() -> None:
    found = Sessions(gap=10, devices=3)
    assert found.assign(array(0, 0, 0, 2), array(0, 10, 21, 5)).tolist() == [0, 0, 1, 2]
    assert found.assign(array(0, 0, 1, 2), array(31, 50, 7, 16)).tolist() == [1, 3, 4, 5]
    table = found.table()
    assert len(found) == 6
    assert table.number.tolist() == [0, 1, 3, 4, 2, 5]
    assert table.series.tolist() == [0, 0, 0, 1, 2, 2]
    assert table.first.tolist() == [0, 21, 50, 7, 5, 16]
    assert table.last.tolist() == [10, 31, 50, 7, 5, 16]


def test_no_rows_make_no_session() -> None:
    assert len(Sessions(gap=1, devices=2).table().number) == 0


def test_more_sessions_than_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_MAX_SESSIONS", 3)
    found = Sessions(gap=1, devices=1)
    found.assign(array(0, 0, 0), array(0, 10, 20))
    with pytest.raises(InvalidInputError, match="longer gap="):
        found.assign(array(0), array(30))
