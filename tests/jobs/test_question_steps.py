"""Steps that ask: answers, latencies, outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipeline.errors import JobError, NotFoundError
from pipeline.jobs.question_steps import excerpt, write_answer
from tests.jobs.running import failed_report, run, simulated


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive of one tiny fleet."""
    made = tmp_path_factory.mktemp("questions")
    run(made, simulated(readings=150, channels=["temperature", "state"]))
    return made


def ask(folder: Path, kind: str, **step: Any) -> dict[str, Any]:
    report = run(folder, {kind: {"fleet": "rooms", **step}}).report
    found: dict[str, Any] = report["steps"][0]
    return found


class TestAggregate:
    def test_one_device(self, folder: Path) -> None:
        report = ask(
            folder,
            "aggregate",
            statistics={"temperature": ["mean", "max"]},
            devices="device-00003",
            repeat=5,
        )
        rows = run(folder, "report").rows()
        values = rows["temperature"].to_numpy()[
            np.array(rows["device"].to_pylist()) == "device-00003"
        ]
        (cell,) = report["excerpt"]
        assert cell["temperature_mean"] == pytest.approx(values.mean())
        assert cell["temperature_max"] == values.max()
        assert report["units"]["temperature_mean"] == "degC"
        assert (report["repeat"], report["sizes"]) == (5, {"device": 1})
        assert report["median_ms"] > 0
        assert report["first_ms"] > 0

    def test_hours_of_all_devices(self, folder: Path) -> None:
        report = ask(folder, "aggregate", statistics={"temperature": "mean"}, every="1h")
        assert report["sizes"] == {"device": 12, "time": 3}
        assert [cell["time"] for cell in report["excerpt"]] == [
            f"2025-01-01T0{hour}:00:00Z" for hour in range(3)
        ]
        assert {cell["device"] for cell in report["excerpt"]} == {"device-00000"}

    def test_tags_select_devices(self, folder: Path) -> None:
        asked = {"statistics": {"temperature": "count"}, "by": []}
        tags = run(folder, "report").archive["rooms"].tags
        model = tags["device-00003"]["model"]
        report = ask(folder, "aggregate", where={"model": [model]}, **asked)
        mine = sum(of["model"] == model for of in tags.values())
        assert report["excerpt"][0]["temperature_count"] == mine * 150
        assert report["title"].endswith(f"all devices with model {model} together")
        latest = ask(folder, "latest", devices=["device-00003"], where={"model": [model, "x"]})
        assert latest["sizes"] == {"device": 1}
        assert latest["title"].endswith(f"device-00003 with model {model} or x")

    def test_values_select_rows(self, folder: Path) -> None:
        rows = run(folder, "report").rows()
        values = rows["temperature"].to_numpy()
        low = float(np.median(values))
        asked = {"statistics": {"temperature": "count"}, "by": []}
        report = ask(folder, "aggregate", where={"temperature": f"> {low!r}"}, **asked)
        assert report["excerpt"][0]["temperature_count"] == np.count_nonzero(values > low)
        assert report["title"].endswith(f"all devices with temperature > {low!r} together")
        states = rows["state"].to_pylist()
        where = {"state": [states[0], None], "temperature": low}
        report = ask(folder, "aggregate", where=where, **asked)
        expected = sum(
            state in (states[0], None) and value == low
            for state, value in zip(states, values, strict=True)
        )
        assert report["excerpt"][0]["temperature_count"] == expected
        assert f"state {states[0]} or no value and temperature {low}" in report["title"]

    def test_a_time_range_and_groups(self, folder: Path) -> None:
        report = ask(
            folder,
            "aggregate",
            statistics={"temperature": "count"},
            time=["2025-01-01T00:30:00Z", None],
            by="model",
        )
        assert report["sizes"] == {"model": 3}
        assert report["excerpt"][0]["temperature_count"] == 4 * 120

    def test_titles(self, folder: Path) -> None:
        step: dict[str, Any] = {"statistics": {"temperature": ["min", "max"]}}
        assert ask(folder, "aggregate", **step, title="Extremes")["title"] == "Extremes"
        assert ask(folder, "aggregate", **step, every="1h")["title"] == (
            "min, max of temperature every 1h, all devices"
        )
        one = ask(folder, "aggregate", **step, devices=["device-00001"], by=[])["title"]
        assert one == "min, max of temperature, device-00001 together"
        two = ask(
            folder, "aggregate", **step, devices=["device-00001", "device-00002"], by=["site"]
        )
        assert two["title"] == "min, max of temperature, 2 devices by site"

    def test_a_question_that_makes_no_sense(self, folder: Path) -> None:
        with pytest.raises(NotFoundError, match="no fleet 'halls'"):
            run(folder, {"aggregate": {"fleet": "halls", "statistics": {"temperature": "mean"}}})
        assert failed_report(folder)["error"]["while"] == "steps.0.aggregate"

    def test_windows_and_other_statistics(self, folder: Path) -> None:
        report = ask(
            folder,
            "aggregate",
            statistics={"temperature": ["p95", "histogram(0, 20, 40)"], "state": "time_in_state"},
            every="1h",
            window="2h",
            origin="2025-01-01T00:30",
            fill=None,
            devices="device-00001",
        )
        assert report["sizes"]["time"] == 4
        assert report["sizes"]["temperature_bucket"] == 2
        assert report["units"]["state_time_in_state"] == "s"
        assert report["title"].endswith("every 1h over 2h, device-00001")
        local = ask(
            folder,
            "aggregate",
            statistics={"temperature": "median"},
            every="1 day",
            timezone="Europe/Berlin",
            fill="previous",
        )
        assert local["excerpt"][0]["time"] == "2024-12-31T23:00:00Z"

    def test_sessions(self, folder: Path) -> None:
        step: dict[str, Any] = {"statistics": {"temperature": "count"}, "gap": "1h"}
        report = ask(folder, "aggregate", **step)
        assert report["sizes"] == {"session": 12}
        assert report["excerpt"][0]["temperature_count"] == 150
        assert "by session (1h)" in report["title"]


class TestDownsample:
    def test_points_of_one_device(self, folder: Path, tmp_path: Path) -> None:
        path = tmp_path / "plot.parquet"
        report = ask(
            folder,
            "downsample",
            channel="temperature",
            points=20,
            devices="device-00003",
            output=str(path),
        )
        assert report["sizes"] == {"time": 20}
        assert report["title"] == "20 points of temperature to plot, device-00003"
        assert len(pd.read_parquet(path)) == 20


class TestLatest:
    def test_all_devices(self, folder: Path) -> None:
        report = ask(folder, "latest")
        assert report["sizes"] == {"device": 12}
        assert report["title"] == "newest reading of all devices"
        cell = report["excerpt"][0]
        assert cell["time"] == "2025-01-01T02:29:00Z"
        assert isinstance(cell["state"], str)

    def test_some(self, folder: Path) -> None:
        report = ask(folder, "latest", devices=["device-00002"], channels=["temperature"])
        assert set(report["excerpt"][0]) == {"device", "time", "temperature"}


class TestOutput:
    def test_formats_agree(self, folder: Path, tmp_path: Path) -> None:
        step: dict[str, Any] = {"statistics": {"temperature": "mean"}, "every": "1h"}
        for ending in ("parquet", "csv", "zarr"):
            path = str(tmp_path / "new" / f"answer.{ending}")
            assert ask(folder, "aggregate", **step, output=path)["output"] == path
        table = pd.read_parquet(tmp_path / "new" / "answer.parquet")
        assert list(table.columns) == ["device", "time", "temperature_mean"]
        assert len(table) == 36
        text = pd.read_csv(tmp_path / "new" / "answer.csv")
        assert np.allclose(text["temperature_mean"], table["temperature_mean"])
        stored = xr.open_zarr(tmp_path / "new" / "answer.zarr", consolidated=False)
        assert np.allclose(stored["temperature_mean"].values.ravel(), table["temperature_mean"])

    @pytest.mark.parametrize("ending", ["parquet", "csv", "zarr"])
    def test_an_older_answer_is_replaced(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"answer.{ending}"
        write_answer(xr.Dataset({"x": ("device", [1, 2, 3])}), path)
        write_answer(xr.Dataset({"y": ("device", [1.0])}), path)
        assert len(list(tmp_path.iterdir())) == 1
        if ending == "zarr":
            assert list(xr.open_zarr(path, consolidated=False)) == ["y"]

    @pytest.mark.parametrize("ending", ["parquet", "csv", "zarr"])
    def test_a_folder_of_something_else_is_not_overwritten(
        self, tmp_path: Path, ending: str
    ) -> None:
        path = tmp_path / f"thesis.{ending}"
        path.mkdir()
        (path / "chapter.txt").write_text("years of work")
        with pytest.raises(JobError, match="is in the way"):
            write_answer(xr.Dataset({"x": ("device", [1])}), path)
        assert (path / "chapter.txt").exists()

    def test_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(JobError, match="cannot be written"):
            write_answer(xr.Dataset({"x": ("device", [1])}), tmp_path / "file" / "a.csv")


class TestExcerpt:
    def test_missing_values_and_times(self) -> None:
        answer = xr.Dataset(
            {"x": ("time", [1.5, np.nan]), "n": ("time", [1, 2])},
            {"time": np.array(["2025-01-01T00:00:00.25", "NaT"], "M8[us]")},
        )
        assert excerpt(answer) == (
            {"x": 1.5, "n": 1, "time": "2025-01-01T00:00:00.250000Z"},
            {"x": None, "n": 2, "time": None},
        )

    def test_a_single_value(self) -> None:
        assert excerpt(xr.Dataset({"x": 3})) == ({"x": 3},)

    def test_nothing(self) -> None:
        assert excerpt(xr.Dataset({"x": ("device", np.zeros(0))})) == ()

    def test_bounded(self) -> None:
        assert len(excerpt(xr.Dataset({"x": (("a", "b"), np.zeros((9, 9)))}), 2)) == 2


def test_an_aggregate_may_be_approximate(folder: Path) -> None:
    asked: dict[str, Any] = {"statistics": {"temperature": "p95"}, "devices": ["device-00001"]}
    exact = ask(folder, "aggregate", **asked)["excerpt"][0]["temperature_p95"]
    for approximate in (True, {"relative_error": 0.5}, {"seconds": 0, "confidence": 0.9}):
        report = ask(folder, "aggregate", **asked, approximate=approximate)
        cell = report["excerpt"][0]
        assert cell["temperature_p95_low"] <= exact <= cell["temperature_p95_high"]
        assert report["title"].startswith("about p95 of temperature")
        assert report["units"]["temperature_p95_low"] == "degC"
    with pytest.raises(JobError, match="relative_eror"):
        ask(folder, "aggregate", **asked, approximate={"relative_eror": 0.5})
