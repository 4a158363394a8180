"""Reports for people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.archive.compaction import CompactionResult
from pipeline.jobs.printing import align, plural, print_bytes, print_seconds, report_text
from pipeline.jobs.reports import CompactionReport, ImportReport, QuestionReport

IMPORT = ImportReport(
    fleet="rooms", source="simulated", window="1 day", fragments=4, skipped=0, commits=1,
    devices=1000, partitions=4, blocks=16, rows=1_000_000, points=1_000_000, duplicates=0,
    quarantined=0, late=0, ignored=0, seconds=0.4, raw_bytes=16_000_000, block_bytes=200_000,
    stored_bytes=400_000,
)  # fmt: skip
QUESTION = QuestionReport(
    step="aggregate", fleet="rooms", title="hourly means", repeat=5, first_ms=12.0, median_ms=3.25,
    sizes={"device": 1000, "time": 17}, excerpt=({"device": "a", "mean": 20.0625}, {"device": "a", "mean": None}),
    units={"mean": "degC"},
)  # fmt: skip
CLUSTER = {"kind": "local", "workers": 1, "threads": 2, "start_s": 0.05, "warmup_s": 1.5}


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (16_000_000, "15.3 MiB"), (None, "-"),
     (5 << 50, "5120.0 TiB")],
)  # fmt: skip
def test_bytes(count: int | None, text: str) -> None:
    assert print_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0000021, "2 us"), (0.00325, "3.25 ms"), (0.4, "400 ms"), (2.1, "2.10 s"), (600, "10.0 min")],
)  # fmt: skip
def test_seconds(seconds: float, text: str) -> None:
    assert print_seconds(seconds) == text


def test_plural() -> None:
    assert [plural(n, "row") for n in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]


def test_columns_are_aligned() -> None:
    table = align(("name", "n"), [("a", "1,000"), ("longer", "1")])
    assert table.splitlines() == [
        "  name        n",
        "  ------  -----",
        "  a       1,000",
        "  longer      1",
    ]


def test_the_whole_report() -> None:
    text = report_text("Quickstart", "data/x", [IMPORT], [QUESTION], cluster=CLUSTER)
    lines = text.splitlines()
    assert lines[:3] == ["Quickstart", "==========", "archive data/x"]
    row = next(line for line in lines if line.startswith("  rooms  "))
    for part in ("1,000,000", "400 ms", "2,500,000", "15.3 MiB", "390.6 KiB", "40.0 : 1", "0.40"):
        assert part in row
    assert "  rooms: windows of 1 day, 16 blocks in 4 partitions, 1 commit" in lines
    assert "cluster local (1 worker, 2 threads) in 50 ms, compiled code in 1.50 s" in text
    row = next(line for line in lines if line.startswith("  hourly means"))
    assert row.split("  ")[-2:] == ["12 ms", "3.25 ms"]
    assert "1,000 devices x 17 times" in row
    assert "mean [degC]" in text
    assert "20.0625" in text
    assert lines[-1] == "  ... and 16,998 more"
    assert max(map(len, lines)) <= 110


def test_several_imports_have_a_total() -> None:
    other = replace(IMPORT, fleet="halls", seconds=0.6, stored_bytes=600_000, skipped=3, ignored=1)
    text = report_text("T", "x", [IMPORT, other], [])
    total = next(line for line in text.splitlines() if line.startswith("  total"))
    assert "2,000,000" in total
    assert "1.00 s" in total
    assert "32.0 : 1" in total
    assert "halls: windows of 1 day, 16 blocks in 4 partitions, 1 commit, 3 fragments" in text
    assert "1 line ignored" in text


def test_what_is_not_known_is_a_dash() -> None:
    unknown = replace(IMPORT, stored_bytes=None)
    nothing = replace(IMPORT, fleet="b", rows=0, points=0, raw_bytes=0, stored_bytes=0, seconds=0.0)
    text = report_text("T", "x", [unknown, nothing], [])
    assert text.count("  -") >= 6


def test_answers_are_shown_on_request() -> None:
    assert "20.0625" not in report_text("T", "x", [], [QUESTION], answers=False)
    empty = replace(QUESTION, excerpt=(), sizes={})
    text = report_text("T", "x", [], [empty])
    assert "1 value" in text
    assert text.count("hourly means") == 1


def test_a_job_that_did_nothing() -> None:
    assert report_text("T", "x", [], []) == "T\n=\narchive x"


def test_compactions() -> None:
    result = CompactionResult(
        partitions=7, blocks_before=5000, blocks_after=12, rows=1_000_000, duplicates=3,
        bytes_before=2_097_152, bytes_after=1_048_576,
    )  # fmt: skip
    one = CompactionReport("rooms", 2.0, result)
    lines = report_text("Title", "data", [], [], compactions=[one]).splitlines()
    assert lines[-1].split() == [
        "rooms", "7", "5,000", "12", "2.0", "MiB", "1.0", "MiB", "3", "2.00", "s", "500,000"
    ]  # fmt: skip
    assert "Compactions" in lines
    assert replace(one, seconds=0.0).rows_per_s == 0.0
