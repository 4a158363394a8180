"""Workers are checked and made ready, those that come late as well."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest

from pipeline.archive.chunk_io import in_threads, use_threads
from pipeline.archive.durability import read_mark, shared_mark
from pipeline.errors import InvalidInputError, JobError
from pipeline.jobs import worker_plugin
from pipeline.jobs.clusters import open_cluster
from pipeline.jobs.job_file import ClusterOptions
from pipeline.jobs.worker_plugin import ReadyWorker, check_versions, versions_here
from tests.jobs.running import run, simulated

JOB = {"python": "3.13.1", "numpy": "2.3.0", "iot-archive": "0.1.0", "icechunk": "2.3.0"}


def test_equal_versions_are_accepted(caplog: pytest.LogCaptureFixture) -> None:
    check_versions(versions_here(), versions_here(), "tcp://w:1")
    assert caplog.text == ""


@pytest.mark.parametrize(
    "other", [{"python": "3.13.9"}, {"numpy": "2.9.1"}, {"iot-archive": "0.1.7"}]
)
def test_details_that_differ_are_a_warning(
    other: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    check_versions(JOB, {**JOB, **other}, "tcp://w:1")
    ((name, found),) = other.items()
    assert f"worker tcp://w:1 has {name} {found}, the job {JOB[name]}" in caplog.text


@pytest.mark.parametrize(
    "other",
    [
        {"python": "3.12.9"},
        {"numpy": "3.0.0"},
        {"iot-archive": "0.2.0"},
        {"icechunk": "not installed"},
    ],
)
def test_versions_that_do_not_go_together_are_refused(other: dict[str, str]) -> None:
    ((name, found),) = other.items()
    with pytest.raises(JobError, match=rf"worker tcp://w:1 has {name} {found} \(the job"):
        check_versions(JOB, {**JOB, **other}, "tcp://w:1")


@pytest.fixture
def scheduler() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(  # type: ignore[no-untyped-call]
        processes=True, n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


def processors() -> int:
    """Return how many threads work at the same time in this process."""

    barrier = threading.Barrier(2, timeout=0.2)

    def meet(_: int) -> bool:
        try:
            barrier.wait()
        except threading.BrokenBarrierError:
            return False
        return True

    return 2 if all(in_threads(meet, [0, 1])) else 1


def test_a_worker_that_comes_late_is_made_ready_too(scheduler: distributed.LocalCluster) -> None:
    options = ClusterOptions(address=str(scheduler.scheduler_address))
    with open_cluster(options) as cluster:
        assert not cluster.embedded
        scheduler.scale(2)  # type: ignore[no-untyped-call]
        cluster.client.wait_for_workers(2, timeout=60)
        for address in cluster.client.nthreads():
            future = cluster.client.submit(processors, workers=[address], pure=False)
            assert future.result() == 1
        names = set(cluster.client.run(lambda dask_worker: list(dask_worker.plugins)))
        assert len(names) == 2
    with distributed.Client(scheduler) as client:  # type: ignore[no-untyped-call]
        plugins = client.run(lambda dask_worker: list(dask_worker.plugins))
    assert not any(name.startswith("iot-archive") for some in plugins.values() for name in some)


def test_a_job_on_workers_of_another_version_says_which(
    scheduler: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = {**versions_here(), "zarr": "2.18.0"}
    monkeypatch.setattr(worker_plugin, "versions_here", lambda: older)
    options = ClusterOptions(address=str(scheduler.scheduler_address))
    with (
        pytest.raises(
            JobError, match=r"cluster tcp.*: worker tcp.* has zarr 3.* \(the job 2.18.0\)"
        ),
        open_cluster(options),
    ):
        pass


def test_tasks_fail_on_a_worker_that_was_refused(tmp_path: Path) -> None:
    """A worker that joins a running job cannot stop it at once, but its first task does."""

    class Refusing(ReadyWorker):
        async def setup(self, worker: distributed.Worker) -> None:
            await super().setup(worker)
            worker_plugin._refused[worker.address] = f"worker {worker.address} has numpy 1.0"

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipeline.jobs.clusters.ReadyWorker", Refusing)
        with pytest.raises(JobError, match=r"worker inproc.* has numpy 1\.0"):
            run(tmp_path, simulated())


def test_threads_have_to_be_some() -> None:
    with pytest.raises(InvalidInputError, match="0 threads cannot work"):
        use_threads(0)
    try:
        use_threads(2)
        assert processors() == 2
        use_threads(1)
        assert processors() == 1
    finally:
        use_threads(None)


def test_who_shares_a_folder_sees_the_mark(tmp_path: Path) -> None:
    assert read_mark(str(tmp_path / "none")) == ""
    with shared_mark(tmp_path) as mark:
        assert read_mark(str(tmp_path)) == mark
    assert read_mark(str(tmp_path)) == ""


def test_workers_that_do_not_share_the_folder_send_their_blocks(
    tmp_path: Path, scheduler: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"cluster": str(scheduler.scheduler_address)}
    shared = run(tmp_path / "one", simulated(), **told)
    monkeypatch.setattr("pipeline.jobs.clusters.read_mark", len)
    apart = run(tmp_path / "two", simulated(), **told)
    assert shared.report["steps"][0]["forked"]
    assert not apart.report["steps"][0]["forked"]
    assert shared.rows().equals(apart.rows())
