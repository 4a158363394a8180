"""Parts are encoded before their commit begins, and once more if another writer came between.

Those that name only devices and texts that are known already are encoded as they are read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.archive.appending import plan_append
from pipeline.archive.chunk_io import put_many
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Fork, Repository
from pipeline.errors import JobError, StorageError
from pipeline.jobs import encoding, import_step, read_tasks
from pipeline.jobs.encoding import PartEncoding
from pipeline.jobs.import_parts import Outline
from pipeline.jobs.importing import FragmentImport
from pipeline.jobs.memory import ImportSizes
from pipeline.jobs.part_reading import PartReader, ReadRun
from tests.jobs.running import Outcome, all_rows, failed_report, run

FILES, DEVICES, READINGS = 6, 5, 8


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Files of a day each; every one has a device and a text that those before do not have."""
    return write_days(tmp_path / "days", new=1)


@pytest.fixture
def same_days(tmp_path: Path) -> Path:
    """Files of a day each, of the same devices and texts."""
    return write_days(tmp_path / "same", new=0)


def write_days(folder: Path, new: int) -> Path:
    folder.mkdir()
    for day in range(FILES):
        rows = [
            (
                f"d{new * day + device}",
                datetime(2026, 1, 1 + day, hour, tzinfo=UTC),
                float(hour + device),
            )
            for hour in range(READINGS)
            for device in range(DEVICES)
        ]
        ids, times, values = zip(*rows, strict=True)
        texts = pa.array([f"t{new * day + at % 3}" for at in range(len(rows))]).dictionary_encode()
        table = {"device": ids, "time": pa.array(times, pa.timestamp("us", "UTC"))}
        pq.write_table(pa.table({**table, "v": values, "s": texts}), folder / f"{day}.parquet")
    return folder


@pytest.fixture
def read_again(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which parts are read again."""
    noted: list[str] = []
    again = PartReader.again

    def note(self: PartReader, part: Any) -> Any:
        noted.append(part.info.fragment)
        return again(self, part)

    monkeypatch.setattr(PartReader, "again", note)
    return noted


@pytest.fixture(params=[1, 2])
def many_commits(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let commits take two files, encoded each for itself or both together."""
    sizes = ImportSizes(part_rows=1000, reading=4, group_rows=2 * DEVICES * READINGS)
    monkeypatch.setattr(import_step, "choose_sizes", lambda *_: sizes)
    worth_a_task(monkeypatch, request.param)


def worth_a_task(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    for module in (encoding, read_tasks):
        monkeypatch.setattr(module, "rows_worth_a_task", lambda *_: files * DEVICES * READINGS)


@pytest.fixture
def encoded_at_once(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Read a file after the other, and note of each whether it was encoded as it was read."""
    rows = DEVICES * READINGS
    sizes = ImportSizes(part_rows=rows + 1, reading=1, group_rows=2 * rows)
    monkeypatch.setattr(import_step, "choose_sizes", lambda *_: sizes)
    worth_a_task(monkeypatch, 1)
    noted: list[bool] = []
    add = PartEncoding.add

    def note(self: PartEncoding, run: ReadRun) -> None:
        noted.extend(run.encoded for _ in run.parts)
        add(self, run)

    monkeypatch.setattr(PartEncoding, "add", note)
    return noted


def step(days: Path) -> dict[str, Any]:
    source = {"parquet": {"path": str(days / "*.parquet")}}
    return {"import": {"fleet": "rooms", "source": source, "partitioning": {"window": "day"}}}


def expected(days: Path) -> list[dict[str, Any]]:
    table = pa.concat_tables([pq.read_table(file) for file in sorted(days.iterdir())])
    rows = table.set_column(3, "s", table["s"].cast(pa.string())).to_pylist()
    return sorted(rows, key=lambda row: (row["device"], row["time"]))


def stored(done: Outcome) -> list[dict[str, Any]]:
    table = all_rows(done.archive)
    return [row for row in table.to_pylist() if row["device"] != "stranger"]


def between(monkeypatch: pytest.MonkeyPatch, folder: Path, at: int) -> None:
    """Let another writer register a device and a text before commit number `at` begins."""
    commit, count = FragmentImport._commit, iter(range(100))

    def late(self: FragmentImport, group: PartEncoding, totals: Any) -> Any:
        if next(count) == at:
            from pipeline.api.archive import Archive

            first = pa.array([datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
            row = {"device": ["stranger"], "time": first, "v": [0.5], "s": ["odd"]}
            Archive.open(folder / "archive").fleet("rooms").append(pa.table(row))
        return commit(self, group, totals)

    monkeypatch.setattr(FragmentImport, "_commit", late)


@pytest.fixture(scope="module", params=["embedded", "forked"])
def cluster(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    if request.param == "embedded":
        yield {}
        return
    with distributed.LocalCluster(  # type: ignore[no-untyped-call]
        processes=True, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as started:
        yield {"cluster": {"address": started.scheduler_address, "workers": 2}}


@pytest.mark.usefixtures("many_commits")
def test_nothing_is_read_twice(days: Path, tmp_path: Path, read_again: list[str]) -> None:
    done = run(tmp_path, step(days))
    report = done.report["steps"][0]
    assert (report["commits"], report["fragments"]) == (3, FILES)
    assert stored(done) == expected(days)
    assert not read_again


@pytest.mark.usefixtures("many_commits")
@pytest.mark.parametrize("at", [0, 1, 2])
def test_codes_that_another_writer_took_are_not_used(
    at: int,
    days: Path,
    tmp_path: Path,
    cluster: dict[str, Any],
    read_again: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    between(monkeypatch, tmp_path, at)
    done = run(tmp_path, step(days), **cluster)
    report = done.report["steps"][0]
    assert report["forked"] == bool(cluster)
    assert report["commits"] == 3
    assert stored(done) == expected(days)
    assert done.archive.fleet("rooms").read(devices="stranger").read_all().num_rows == 1
    # The parts of that commit and, if they were encoded by then, of the next one.
    assert len(read_again) in (2, 4)
    assert f"/{2 * at}.parquet" in read_again[0]


def test_what_names_nothing_new_is_encoded_as_it_is_read(
    same_days: Path, tmp_path: Path, encoded_at_once: list[bool], read_again: list[str]
) -> None:
    done = run(tmp_path, step(same_days))
    assert done.report["steps"][0]["commits"] == 3
    assert stored(done) == expected(same_days)
    assert encoded_at_once == [False, *[True] * (FILES - 1)]
    assert not read_again


def test_what_names_something_new_waits_for_its_code(
    days: Path, tmp_path: Path, encoded_at_once: list[bool]
) -> None:
    done = run(tmp_path, step(days))
    assert stored(done) == expected(days)
    assert encoded_at_once == [False] * FILES


@pytest.mark.parametrize(("at", "again"), [(0, {2, 3, 4}), (1, {0})])
def test_what_was_encoded_as_it_was_read_has_the_codes_of_its_commit(
    at: int,
    again: set[int],
    same_days: Path,
    tmp_path: Path,
    encoded_at_once: list[bool],
    read_again: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    between(monkeypatch, tmp_path, at)
    done = run(tmp_path, step(same_days))
    assert stored(done) == expected(same_days)
    assert done.archive.fleet("rooms").read(devices="stranger").read_all().num_rows == 1
    assert any(encoded_at_once)
    assert len(read_again) in again  # devices that a commit has made known keep their codes


def test_workers_encode_as_they_read_and_put_what_they_hold(tmp_path: Path) -> None:
    files, rows = 4, 3 << 16
    (tmp_path / "days").mkdir()
    for day in range(files):
        times = np.datetime64(f"2026-01-{day + 1:02d}", "us") + np.arange(rows) * 400_000
        values = np.arange(rows) % 97 / 10
        table = pa.table({"device": ["d"] * rows, "time": times, "v": values})
        pq.write_table(table, tmp_path / "days" / f"{day}.parquet")
    arguments: dict[str, Any] = {"processes": True, "n_workers": 1, "threads_per_worker": 1}
    arguments["dashboard_address"] = "127.0.0.1:0"
    cluster = {"class": "distributed.LocalCluster", "arguments": arguments, "workers": 1}
    done = run(tmp_path, step(tmp_path / "days"), cluster=cluster)
    report = done.report["steps"][0]
    assert (report["forked"], report["rows"]) == (True, files * rows)
    given = pa.concat_tables([pq.read_table(f) for f in sorted((tmp_path / "days").iterdir())])
    found = all_rows(done.archive)
    assert found["v"].to_pylist() == given["v"].to_pylist()
    assert not done.archive.verify().problems


class Here:
    """A client whose tasks are done as they are submitted."""

    def submit(self, function: Any, *arguments: Any, **_: Any) -> Any:
        return function(*arguments)

    def gather(self, results: list[Any]) -> list[Any]:
        return results


def test_forks_of_many_workers_are_merged_in_a_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = 20
    archive = pipeline.Archive.create(tmp_path / "archive")
    archive.create_fleet("f", pipeline.Schema([pipeline.Channel("t", "float64")]))
    store = FleetStore(Repository.open(Location.parse(archive.url)), "f")
    plan = plan_append(store.view(), ["d"], {})
    path = plan.meta.layout.raw_path("t")

    def put(held: Any, layout: Any, fork: Fork, slots: Any) -> Fork:
        put_many(fork.store, {f"{path}/c/9/9/{slot}": b"block" for (slot,) in slots})
        return fork

    monkeypatch.setattr(encoding, "put_encoded", put)
    monkeypatch.setattr(PartEncoding, "_settle", lambda *_: None)
    unused: Any = None
    group = PartEncoding(Here(), "run", unused, unused, plan.meta.scheme, 1)
    for at in range(2 * workers):  # two of every worker
        outline = Outline((), None, f"worker-{at % workers}")
        group._runs.append(encoding._Run((), plan, (None, 0), outline))
    group.prepare(plan)
    forks = group.put([(at,) for at in range(2 * workers)], store.repository.begin().fork)
    written = [sum(map(len, fork.session.status().updated_chunks.values())) for fork in forks]
    assert len(forks) == 3
    assert sum(written) == 2 * workers


def failing(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> list[int]:
    """Let commit number `at` fail; return where the numbers of those that began are noted."""
    began: list[int] = []
    commit = FragmentImport._commit

    def broken(self: FragmentImport, group: PartEncoding, totals: Any) -> Any:
        began.append(len(began))
        if began[-1] == at:
            time.sleep(0.5)  # others come to wait behind it
            raise error
        return commit(self, group, totals)

    monkeypatch.setattr(FragmentImport, "_commit", broken)
    return began


@pytest.mark.usefixtures("many_commits")
def test_no_commit_passes_one_that_failed(
    days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        began = failing(patched, 1, StorageError("the disk is full"))
        with pytest.raises(StorageError, match="the disk is full"):
            run(tmp_path, step(days))
    assert began == [0, 1]
    assert failed_report(tmp_path)["error"]["kind"] == "storage"
    resumed = run(tmp_path, step(days))
    assert resumed.report["steps"][0]["skipped"] == 2
    assert stored(resumed) == expected(days)


def test_commits_under_way_end_before_a_fragment_s_error_is_raised(
    days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = ImportSizes(part_rows=1000, reading=1, group_rows=DEVICES * READINGS)
    monkeypatch.setattr(import_step, "choose_sizes", lambda *_: sizes)
    runs = PartReader.runs

    def unreadable(self: PartReader, *given: Any) -> Iterator[Any]:
        for at, part in enumerate(runs(self, *given)):
            if at == 2:
                raise JobError("cable pulled")
            yield part

    with monkeypatch.context() as patched:
        patched.setattr(PartReader, "runs", unreadable)
        with pytest.raises(JobError, match="cable pulled"):
            run(tmp_path, step(days))
    resumed = run(tmp_path, step(days))
    assert resumed.report["steps"][0]["skipped"] >= 1
    assert stored(resumed) == expected(days)
