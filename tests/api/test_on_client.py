"""Heavy work handed to the workers of a Dask cluster from Python: it does what it does here."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

import pipeline
from pipeline.archive.on_client import results_in_order
from pipeline.errors import InvalidInputError, JobError
from pipeline.schema.changes import ChangeDtype
from tests.archive.repartitioned import QUESTIONS, SCHEMA, batch, rows
from tests.jobs.running import TINY
from tests.support import memory_archive


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of two worker processes."""
    with (
        distributed.LocalCluster(  # type: ignore[no-untyped-call]
            processes=True, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        yield client


class Tasks:
    """Counts the tasks that a client is given, by the beginning of their keys."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.names: list[str] = []

    def submit(self, *arguments: Any, key: str, **options: Any) -> Any:
        self.names.append(key.partition("-")[0])
        return self.client.submit(*arguments, key=key, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


def filled(archive: pipeline.Archive) -> pipeline.Fleet:
    fleet = archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning("1 day", 2))
    for first in range(3):
        fleet.append(batch(first, hours=24 * 10))
    return fleet


def test_it_does_there_what_it_does_here(tmp_path: Path, client: Any) -> None:
    archive, here = pipeline.Archive.create(tmp_path / "archive"), memory_archive()
    there, fleet = Tasks(client), filled(archive)
    same = filled(here)

    merged, others = fleet.compact(client=there), same.compact()
    assert (merged.merges, merged.blocks_after, merged.rows) == (
        others.merges,
        others.blocks_after,
        others.rows,
    )
    for first in range(3, 6):
        for one in (fleet, same):
            one.append(batch(first, hours=24))
    done = archive.maintain(client=there).fleets["fleet"].compacted
    assert done is not None
    assert done.merges
    same.compact()
    assert set(there.names) == {"merge"}
    for one in (fleet, same):
        one.evolve(ChangeDtype("t", "float32", tolerance=1e-6))
    moved, others_moved = fleet.migrate(verify=True, client=there), same.migrate(verify=True)
    assert (moved.blocks, moved.rows) == (others_moved.blocks, others_moved.rows)
    assert moved.verified == moved.blocks > 0
    scheme = pipeline.Partitioning("1 month", 3, "1 day")
    copied, others_copied = fleet.repartition(scheme, client=there), same.repartition(scheme)
    assert copied.rows == others_copied.rows > 0
    assert fleet.partitioning == scheme
    assert set(there.names) == {"merge", "migrate", "repartition"}

    found = archive.verify(client=there)
    assert found.is_clean
    assert there.names[-1] == "verify"
    assert found.fleets["fleet"].rows == here.verify().fleets["fleet"].rows
    assert rows(fleet).equals(rows(same))
    asked = fleet.aggregate(QUESTIONS, every="1 day", client=client)
    assert asked.drop_attrs().equals(same.aggregate(QUESTIONS, every="1 day").drop_attrs())


def test_archives_in_memory_are_worked_on_here(client: Any) -> None:
    archive, there = memory_archive(), Tasks(client)
    fleet = filled(archive)
    assert fleet.compact(client=there).merges
    assert fleet.repartition(pipeline.Partitioning("1 month", 2), client=there).rows
    assert archive.verify(client=there).is_clean
    assert there.names == []


def test_a_job_runs_from_python(tmp_path: Path, client: Any) -> None:
    source = {"simulated": {**TINY}}
    job = {
        "archive": str(tmp_path / "archive"),
        "cluster": {"class": "nowhere.Cluster"},
        "report": str(tmp_path / "report.json"),
        "steps": [{"import": {"fleet": "rooms", "source": source}}, "report"],
    }
    out = io.StringIO()
    report = pipeline.run(job, "steps.0.import.source.simulated.devices=6", client=client, out=out)
    assert report["status"] == "succeeded"
    assert report["cluster"]["kind"] == client.scheduler.address
    assert report["cluster"]["workers"] == 2
    assert report["steps"][0]["rows"] == 300
    assert "rooms" in out.getvalue()
    # It is left open.
    assert client.submit(len, "abc").result() == 3
    with pytest.raises(JobError, match="job: unknown key 'stpes'; did you mean 'steps'"):
        pipeline.run({**job, "stpes": []})


def test_results_come_in_order_and_the_rest_is_given_up(client: Any) -> None:
    assert list(results_in_order(client, "n", str, range(7), 3)) == list("0123456")
    assert list(results_in_order(client, "n", str, range(0), 3)) == []

    def fail(number: int) -> int:
        if number == 1:
            raise InvalidInputError("no")
        return number

    found = results_in_order(client, "n", fail, range(100), 3)
    assert next(found) == 0
    with pytest.raises(InvalidInputError, match="no"):
        next(found)
