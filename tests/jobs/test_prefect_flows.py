"""Flows of Prefect: run by its own engine on this machine, with Dask's clusters."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import psutil
import pytest

from pipeline.api.archive import Archive
from pipeline.api.rollups import Rollup
from pipeline.errors import ConflictError, NotFoundError, StorageError
from tests.jobs.running import run, simulated, write_job
from tests.rollup_checks import assert_right

# Prefect leaves connections to its server to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(scope="module")
def engine() -> Iterator[None]:
    """Prefect's own engine: a server on this machine with a database for these tests alone."""
    from prefect.testing.utilities import prefect_test_harness

    assert os.environ["DO_NOT_TRACK"] == "1"
    root, before = logging.getLogger(), set(psutil.Process().children(recursive=True))
    handlers, level = list(root.handlers), root.level
    try:
        with prefect_test_harness(server_startup_timeout=120):
            yield
            gc.collect()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [process for process in left if "prefect" in " ".join(process.cmdline())]


@pytest.fixture(scope="module")
def runner(engine: None) -> Iterator[Any]:
    """A task runner on a cluster of one worker process with one thread, which tasks give up to others."""
    from prefect_dask.task_runners import DaskTaskRunner

    with distributed.LocalCluster(  # type: ignore[no-untyped-call]
        processes=True, n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield DaskTaskRunner(address=cluster.scheduler_address)


def here() -> Any:
    """Return a task runner on a cluster in this process, with one thread for all tasks."""
    from prefect_dask.task_runners import DaskTaskRunner

    kwargs = {"processes": False, "n_workers": 1, "threads_per_worker": 1}
    return DaskTaskRunner(cluster_kwargs={**kwargs, "dashboard_address": "127.0.0.1:0"})


IMPORT = simulated(devices=40, readings=96, interval="15 min", devices_per_fragment=20)
ROLLUPS = {"rollup": {"fleet": "rooms", "rollups": {"daily": {"every": "1 day"}, "1h": {}}}}


def test_a_flow_runs_a_job_on_the_workers(tmp_path: Path, engine: None) -> None:
    from pipeline.jobs.prefect_flows import job_flow

    path = write_job(tmp_path, IMPORT, ROLLUPS, "report", lease={"name": "upkeep"})
    report = job_flow.with_options(task_runner=here())(str(path), ["lease.overlap=wait"])
    assert report["status"] == "succeeded"
    assert report["cluster"]["workers"] == 1
    assert [one["cells"] for one in report["steps"][1]["rollups"]] == [40 * 24, 40]
    assert_right(Archive.open(tmp_path / "archive").fleet("rooms"), "1h")


def test_a_flow_refreshes_rollups_and_publishes_the_counters(tmp_path: Path, runner: Any) -> None:
    from prefect.artifacts import Artifact

    from pipeline.jobs.prefect_flows import rollup_flow

    fleet = run(tmp_path, IMPORT).archive.fleet("rooms")
    fleet.rollups.create("daily", every="1 day")
    fleet.rollups.create("1h")
    flow = rollup_flow.with_options(task_runner=runner)
    done = flow(str(tmp_path / "archive"), "rooms")
    assert [(one["name"], one["cells"]) for one in done] == [("1h", 40 * 24), ("daily", 40)]
    assert_right(fleet, "daily")
    artifact: Any = Artifact.get("iot-archive-rollups")
    assert '"cells": 960' in str(artifact.data)
    again = flow(str(tmp_path / "archive"), "rooms", ["1h"])
    assert [(one["cells"], one["commits"]) for one in again] == [(0, 0)]


def test_flows_are_loaded_from_their_file_as_a_deployment_does(engine: None) -> None:
    from prefect.flows import load_flow_from_entrypoint

    from pipeline.jobs import prefect_flows

    given = {
        "job_flow": {"job": "configs/hourly.yaml", "overrides": ["archive=a"]},
        "rollup_flow": {"archive": "a", "fleet": "rooms", "rollups": ["1h"]},
    }
    for name, parameters in given.items():
        flow: Any = load_flow_from_entrypoint(f"{prefect_flows.__file__}:{name}")
        taken = flow.validate_parameters(parameters)
        assert taken.keys() >= parameters.keys()
        assert flow.parameters.required == list(parameters)[: len(flow.parameters.required)]


def test_what_may_pass_is_tried_again(
    tmp_path: Path, engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.jobs import prefect_flows

    fleet = run(tmp_path, IMPORT).archive.fleet("rooms")
    fleet.rollups.create("1h")
    refresh, errors = Rollup.refresh, [StorageError("disk away"), ConflictError("others")]

    def failing(self: Rollup, client: Any = None) -> Any:
        if errors:
            raise errors.pop()
        return refresh(self, client)

    monkeypatch.setattr(Rollup, "refresh", failing)
    quick = prefect_flows._refresh.with_options(retry_delay_seconds=0)
    monkeypatch.setattr(prefect_flows, "_refresh", quick)
    flow = prefect_flows.rollup_flow.with_options(task_runner=here())
    (done,) = flow(str(tmp_path / "archive"), "rooms")
    assert (done["cells"], errors) == (40 * 24, [])

    attempts: list[Rollup] = []

    def missing(self: Rollup, client: Any = None) -> Any:
        attempts.append(self)
        raise NotFoundError("gone")

    monkeypatch.setattr(Rollup, "refresh", missing)
    with pytest.raises(NotFoundError, match="gone"):
        flow(str(tmp_path / "archive"), "rooms")
    assert len(attempts) == 1


def test_without_prefect_the_extra_is_named_and_the_rest_works() -> None:
    code = (
        "import sys\n"
        "sys.modules['prefect'] = None\n"
        "import pipeline.jobs.runner, pipeline.jobs.command\n"
        "try: import pipeline.jobs.prefect_flows\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=True, env=os.environ,
    )  # fmt: skip
    assert "pip install 'iot-archive[prefect]'" in done.stdout
