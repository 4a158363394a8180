"""Parts are placed in every window that they reach into, and know whether they lie in it wholly."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analytics.approximate.placing import place
from pipeline.analytics.windows import make_windows
from pipeline.partitioning.pruning import Selection

HOUR = 3_600_000_000


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 40)), min_size=1, max_size=20),
    st.sampled_from([("1h", None), ("5h", None), ("2h", "5h"), ("1h", "7h")]),
    st.integers(0, 60),
    st.integers(61, 200),
)
def test_placed_as_one_by_one(
    spans: list[tuple[int, int]], every: tuple[str, str | None], start: int, stop: int
) -> None:
    unit = HOUR // 4
    selection = Selection(start * unit, stop * unit)
    windows = make_windows(every[0], selection.start, selection.stop, window=every[1])
    first = np.array([begin * unit for begin, _ in spans])
    last = np.array([(begin + length) * unit for begin, length in spans])
    placed = place(first, last, windows, selection)
    found = {
        (int(at), int(window)): (bool(whole), float(share))
        for at, window, whole, share in zip(
            placed.at, placed.window, placed.whole, placed.share, strict=True
        )
    }
    wanted = {}
    for at, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        for window, (low, high) in enumerate(
            zip(windows.starts.tolist(), windows.stops.tolist(), strict=True)
        ):
            low, high = max(low, selection.start), min(high, selection.stop)
            inside = min(high, end + 1) - max(low, begin)
            if inside > 0:
                wanted[at, window] = (low <= begin and end < high, inside / (end + 1 - begin))
    assert found == wanted
