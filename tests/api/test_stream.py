"""Streams into a real archive: what is read while it flows, and what is there in the end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.errors import InvalidInputError, NotFoundError
from tests.support import memory_archive, minutes, rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("v", "int64"), pipeline.Channel("c", "category")])
SLOW = {"age": "1 day"}


def new_fleet(duplicates: str = "keep_last") -> pipeline.Fleet:
    return memory_archive().create_fleet("fleet", SCHEMA, duplicates=duplicates)


def rows(device: str, steps: list[float], values: list[int]) -> dict[str, Any]:
    return {
        "device": [device] * len(steps),
        "time": minutes(*steps),
        "v": np.array(values),
        "c": [f"c{v}" for v in values],
    }


def seen(reader: Any) -> list[tuple[str, int, str]]:
    frame = rows_of(reader)
    return list(zip(frame["device"], frame["v"].astype(int), frame["c"].astype(str), strict=True))


@pytest.mark.parametrize("duplicates", ["keep_last", "keep_first", "keep_all"])
def test_a_stream_reads_as_the_archive_will(duplicates: str) -> None:
    fleet = new_fleet(duplicates)
    fleet.append(rows("b", [0, 1, 4000], [1, 2, 3]))
    with fleet.stream(durability="none", flush=SLOW) as stream:
        assert len(seen(stream.read())) == 3
        stream.write(rows("b", [1, 2, 3000], [20, 4, 5]))
        stream.write(rows("a", [1, 9000], [6, 7]))
        stream.write(rows("b", [2], [40]))
        live = {
            "all": seen(stream.read()),
            "one": seen(stream.read("b")),
            "new": seen(stream.read("a")),
            "both": seen(stream.read(["a", "b"], (minutes(1)[0], minutes(3500)[0]))),
            "none": seen(stream.read(time=(minutes(20)[0], minutes(30)[0]))),
        }
        assert stream.read(channels="v").schema.names == ["device", "time", "v"]
        with pytest.raises(NotFoundError, match="'z'"):
            stream.read("z")
        assert fleet.read().read_all().num_rows == 3
        stream.flush()
        assert seen(stream.read()) == seen(fleet.read())
    after = {
        "all": seen(fleet.read()),
        "one": seen(fleet.read("b")),
        "new": seen(fleet.read("a")),
        "both": seen(fleet.read(["a", "b"], (minutes(1)[0], minutes(3500)[0]))),
        "none": [],
    }
    assert live == after


def test_questions_see_what_was_written() -> None:
    fleet = new_fleet()
    with fleet.stream(durability="none", flush=SLOW) as stream:
        stream.write(rows("a", [0, 1], [1, 2]))
        assert stream.latest()["v"].values.tolist() == [2]
        stream.write(rows("a", [2], [9]))
        assert stream.aggregate({"v": "sum"}, by=[])["v_sum"].item() == 12
        assert stream.counters.commits == 2


def test_reading_while_commits_go_on_never_misses_and_never_doubles() -> None:
    fleet = new_fleet("keep_all")
    with fleet.stream(durability="none", flush={"age": "1 ms"}) as stream:
        for value in range(60):
            stream.write(rows("a", [value], [value]))
            assert stream.read().read_all().num_rows == value + 1


def test_rows_that_repeat_go_to_quarantine_where_the_fleet_refuses_them() -> None:
    fleet = new_fleet("error")
    with fleet.stream(durability="none", flush=SLOW) as stream:
        for value in range(5):
            stream.write(rows("a", [value], [value]))
        stream.write(rows("a", [2], [99]))
        stream.write(rows("b", [2], [5]))
    assert sorted(value for _, value, _ in seen(fleet.read())) == [0, 1, 2, 3, 4, 5]
    told = fleet.quarantine()
    assert told.num_rows == 1
    assert '"v": 99' in told["record"][0].as_py()


def test_a_replay_does_not_double_rows(tmp_path: Path) -> None:
    fleet = new_fleet("keep_all")
    for value in range(3):
        with fleet.stream(tmp_path / "log") as stream:
            stream.write(rows("a", [value], [value]))
    with fleet.stream(tmp_path / "log") as stream:
        assert stream.counters.replayed == 0
        late = stream.write(rows("a", [0.5], [9]))
        assert late.late == 1
    assert fleet.read().read_all().num_rows == 4
    assert len(fleet.positions["streams"]) == 1


def test_small_commits_are_merged_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ingest.options._COMPACT_EVERY", 8)
    fleet = new_fleet()
    with fleet.stream(durability="commit") as stream:
        for value in range(40):
            stream.write(rows("a", [value], [value]))
    counters = stream.counters
    assert counters.compactions >= 1
    assert counters.write_amplification > 1
    assert counters.committed_rows == 40
    assert len(seen(fleet.read())) == 40


def test_an_event_loop_writes_too(tmp_path: Path) -> None:
    fleet = new_fleet()

    async def write_all() -> int:
        async with fleet.stream(tmp_path / "log", flush=SLOW, max_bytes=9000) as stream:
            receipts = await asyncio.gather(
                *(stream.write(rows("a", [value], [value])) for value in range(40))
            )
            assert all(receipt.durable in ("log", "commit") for receipt in receipts)
            await stream.committed(receipts[3])
            assert receipts[3].durable == "commit"
            await stream.flush()
            assert fleet.read().read_all().num_rows == 40
            await stream.write(rows("a", [50], [50]), wait=False)
            writes = stream.counters.writes
            await stream.close()
        return writes

    assert asyncio.run(write_all()) == 41
    assert fleet.read().read_all().num_rows == 41


def test_an_old_snapshot_takes_no_stream() -> None:
    fleet = new_fleet()
    archive = pipeline.Archive.open(repr(fleet).split(" in ")[1].rstrip(">"))
    old = archive.at(next(archive.history()).snapshot).fleet("fleet")
    with pytest.raises(InvalidInputError, match="old snapshot"):
        old.stream(durability="none")
