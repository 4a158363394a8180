"""An archive on an S3-protocol server: same behaviour, conditional commits instead of a lock."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.abc.store import Store

import pipeline
from pipeline.archive.chunk_io import put_many
from pipeline.archive.leases import read_leases, take_lease
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.archive.turns import Turn
from pipeline.errors import AlreadyExistsError, FencedError, NotFoundError
from tests.integration.servers import s3_server
from tests.support import START, minutes, rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64")])


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    with s3_server() as told:
        yield told


def test_write_reopen_and_query(options: dict[str, Any]) -> None:
    url = "s3://bucket/first"
    archive = pipeline.Archive.create(url, storage_options=options)
    fleet = archive.create_fleet("fleet", SCHEMA)
    fleet.append({"device": ["a", "b"], "time": minutes(0, 1), "t": [1.5, 2.5]})
    again = pipeline.Archive.open(url, storage_options=options)
    assert rows_of(again.fleet("fleet").read())["t"].tolist() == [1.5, 2.5]
    assert again.fleet("fleet").aggregate({"t": "mean"}, by=[])["t_mean"] == 2.0
    assert again.url == url
    with xr.open_dataset(
        url, engine="iot_archive", fleet="fleet", devices="b", storage_options=options
    ) as dataset:
        assert dataset["t"].values.tolist() == [2.5]
    with pytest.raises(AlreadyExistsError):
        pipeline.Archive.create(url, storage_options=options)
    with pytest.raises(NotFoundError):
        pipeline.Archive.open("s3://bucket/second", storage_options=options)


def test_a_folder_copied_into_a_bucket_is_as_safe_there(
    options: dict[str, Any], tmp_path: Path
) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    archive.create_fleet("fleet", SCHEMA).append({"device": ["a"], "time": minutes(0), "t": [1.5]})
    endpoint = options["endpoint_url"]
    for file in (tmp_path / "archive").rglob("*"):
        if file.is_file():
            place = f"{endpoint}/bucket/copied/{file.relative_to(archive.url)}"
            kind = {"Content-Type": "application/octet-stream"}
            request = urllib.request.Request(place, file.read_bytes(), kind, method="PUT")
            with urllib.request.urlopen(request, timeout=30):
                pass
    copied = Repository.open(Location.parse("s3://bucket/copied"), options)
    settings = copied._repository.config.storage
    assert settings is not None
    assert settings.concurrency is not None
    assert settings.unsafe_use_conditional_update is True
    assert settings.unsafe_use_conditional_create is True
    assert settings.retries is not None
    assert settings.retries.max_tries == 10
    assert settings.concurrency.ideal_concurrent_request_size == 12 << 20
    fleet = pipeline.Archive.open("s3://bucket/copied", storage_options=options).fleet("fleet")
    fleet.append({"device": ["a"], "time": minutes(1), "t": [2.5]})
    assert rows_of(fleet.read())["t"].tolist() == [1.5, 2.5]


def test_writers_that_meet_try_again_and_lose_nothing(options: dict[str, Any]) -> None:
    url = "s3://bucket/busy"
    pipeline.Archive.create(url, storage_options=options).create_fleet("fleet", SCHEMA)

    def append(worker: int) -> None:
        fleet = pipeline.Archive.open(url, storage_options=options).fleet("fleet")
        for step in range(4):
            rows = {"device": [f"d{worker}"], "time": minutes(step), "t": [float(step)]}
            fleet.append(rows)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))
    fleet = pipeline.Archive.open(url, storage_options=options).fleet("fleet")
    frame = rows_of(fleet.read())
    assert sorted(zip(frame["device"], frame["t"], strict=True)) == [
        (f"d{worker}", float(step)) for worker in range(4) for step in range(4)
    ]
    assert fleet.aggregate({"t": "count"}, by=[])["t_count"] == 16


def test_appends_and_compactions_that_meet_lose_nothing(options: dict[str, Any]) -> None:
    url = "s3://bucket/compacted"
    pipeline.Archive.create(url, storage_options=options).create_fleet("fleet", SCHEMA)

    def append(worker: int) -> None:
        fleet = pipeline.Archive.open(url, storage_options=options).fleet("fleet")
        for step in range(6):
            rows = {"device": [f"d{worker}"], "time": minutes(step), "t": [float(step)]}
            fleet.append(rows)

    fleet = pipeline.Archive.open(url, storage_options=options).fleet("fleet")
    merges = 0
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(append, worker) for worker in range(2)]
        while not all(future.done() for future in running):
            merges += fleet.compact().merges
        for future in running:
            future.result()
    assert merges > 0
    fleet.compact()
    frame = rows_of(fleet.read())
    assert sorted(zip(frame["device"], frame["t"], strict=True)) == [
        (f"d{worker}", float(step)) for worker in range(2) for step in range(6)
    ]
    assert fleet.aggregate({"t": "count"}, by=[])["t_count"] == 12
    assert fleet.compact().blocks_after == 1


def test_processes_on_one_bucket(options: dict[str, Any]) -> None:
    url = "s3://bucket/processes"
    pipeline.Archive.create(url, storage_options=options).create_fleet("fleet", SCHEMA)
    script = (
        "import json,sys,numpy as np,pipeline\n"
        "url,worker,options=sys.argv[1],int(sys.argv[2]),json.loads(sys.argv[3])\n"
        "fleet=pipeline.Archive.open(url,storage_options=options).fleet('fleet')\n"
        "for step in range(5):\n"
        "    time=np.array(['2024-01-01'],'M8[us]')+np.timedelta64(step,'m')\n"
        "    fleet.append({'device':[f'd{worker}'],'time':time,'t':[float(step)]})\n"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", script, url, str(at), json.dumps(options)])
        for at in range(2)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    fleet = pipeline.Archive.open(url, storage_options=options).fleet("fleet")
    counts = fleet.aggregate({"t": ["count", "sum"]})
    np.testing.assert_array_equal(counts["t_count"], [5, 5])
    np.testing.assert_array_equal(counts["t_sum"], [10.0, 10.0])


def test_a_slow_writer_gets_its_turn_beside_a_fast_one(options: dict[str, Any]) -> None:
    url = "s3://bucket/turns"
    pipeline.Archive.create(url, storage_options=options).create_fleet("fleet", SCHEMA)
    stop = threading.Event()
    appended: list[int] = []

    def append() -> None:
        fleet = pipeline.Archive.open(url, storage_options=options).fleet("fleet")
        while not stop.is_set():
            fleet.append({"device": ["fast"], "time": minutes(len(appended)), "t": [0.0]})
            appended.append(1)

    writer = threading.Thread(target=append)
    writer.start()
    repository = Repository.open(Location.parse(url), options)
    try:
        while not appended:
            time.sleep(0.01)
        runs = []

        def slowly(store: Store) -> None:
            runs.append(1)
            put_many(store, {"fleet/raw/t/c/0/0/0": b"slow"})
            time.sleep(1.0)

        repository.commit(slowly, "slow")
    finally:
        stop.set()
        writer.join()
    assert len(runs) <= 6
    assert repository._claims is not None
    assert repository._claims.seen() is None
    repository._claims.put()  # and its holder is killed
    assert repository._claims.seen() == repository.tip()
    assert not repository._claims.put()
    Turn(repository._claims, patience=0.2).wait(0)
    assert repository._claims.seen() is None


def test_a_change_whose_lease_is_taken_meanwhile_is_refused(options: dict[str, Any]) -> None:
    """There is no lock: the lease is taken between the check of a commit and the commit itself."""
    url = "s3://bucket/leased"
    archive = pipeline.Archive.create(url, storage_options=options)
    archive.create_fleet("fleet", SCHEMA)
    repository = archive._repository
    slept = take_lease(repository, None, "upkeep", "a", START, 1)
    fenced = repository.fenced(lambda store: slept.check(read_leases(store, None)))
    checked: list[int] = []

    def change(store: Store) -> None:
        checked.append(1)
        other = Repository.open(Location.parse(url), options)
        take_lease(other, None, "upkeep", "b", START + 1, 10**15)
        zarr.create_group(store, path="fleet/note")

    with pytest.raises(FencedError, match="'b' has it now"):
        fenced.commit(change, "too late")
    assert checked == [1]
    assert repository.retries == 0 < fenced.retries
    assert [commit.message for commit in archive.history()][:2] == ["lease upkeep", "lease upkeep"]
