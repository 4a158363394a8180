"""The gigabyte benchmark runs at tiny size and reports its figures."""

from __future__ import annotations

from tests.benchmarks.gigabyte import measure
from tests.benchmarks.measuring import one_process
from tests.benchmarks.outcome import Size


def test_a_tiny_gigabyte_is_stored_and_read_back() -> None:
    shown: list[str] = []
    with one_process():
        figures = measure(Size.TINY, shown.append)
    wanted = {
        "gigabyte_seconds",
        "gigabyte_decode_seconds",
        "gigabyte_bytes",
        "gigabyte_peak_rss_mb",
        "gigabyte_stream_seconds",
        "gigabyte_stream_decode_seconds",
    }
    assert wanted <= figures.keys()
    assert all(figure.value > 0 for figure in figures.values())
    assert "multiplied" in figures["gigabyte_seconds"].meaning
    assert any("run 1 of 1" in line for line in shown)
