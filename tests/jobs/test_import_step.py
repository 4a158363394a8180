"""Imports, run for real on the embedded cluster: what goes in comes out, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ArchiveError, JobError, NotFoundError, SchemaError
from pipeline.jobs import import_step
from pipeline.jobs.memory import ImportSizes
from pipeline.model.ports import Intake
from pipeline.simulation.fleets import SimulatedFleet, SimulatedFragment, SimulatedSource
from tests.jobs.running import TINY, all_rows, failed_report, run, simulated


def source_rows(**options: Any) -> pa.Table:
    """Return the rows that a simulated source delivers, sorted as `all_rows` sorts."""
    told = {**TINY, **options}
    width = told.pop("devices_per_fragment")
    source = SimulatedSource(SimulatedFleet(**told), width)
    tables = [piece.table for fragment in source.fragments() for piece in fragment.read()]
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    plain = table.set_column(0, "device", table["device"].cast(pa.string()))
    return plain.sort_by([("device", "ascending"), ("time", "ascending")]).combine_chunks()


def same(one: pa.Table, other: pa.Table) -> bool:
    assert one.column_names == other.column_names
    return all(one[name].to_pylist() == other[name].to_pylist() for name in one.column_names)


def parquet(path: Path, devices: list[str], rows: int = 300, **columns: Any) -> pa.Table:
    """Write a file of rows a second apart, all devices in turns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.repeat(np.arange(rows) * 1_000_000, len(devices)) + 1_700_000_000_000_000
    table = pa.table(
        {
            "device": devices * rows,
            "time": pa.array(time, pa.timestamp("us", "UTC")),
            **(columns or {"value": np.arange(rows * len(devices)) / 10}),
        }
    )
    pq.write_table(table, path)
    return table


def parquet_step(fleet: str, path: Path | str, **step: Any) -> dict[str, Any]:
    return {"import": {"fleet": fleet, "source": {"parquet": {"path": str(path)}}, **step}}


class TestRows:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"order": "time"},
            {"channels": ["temperature", "state", "motion", "energy"]},
            {"devices": 1, "readings": 1},
        ],
        ids=["plain", "by time", "dtypes", "one row"],
    )
    def test_all_rows_of_the_source_are_stored(
        self, tmp_path: Path, options: dict[str, Any]
    ) -> None:
        done = run(tmp_path, simulated(**options))
        expected = source_rows(**{k: v for k, v in options.items() if k != "order"})
        stored = done.rows()
        assert stored.num_rows == done.report["steps"][0]["rows"] == expected.num_rows
        for name in expected.column_names:
            values = expected[name]
            if pa.types.is_dictionary(values.type):
                values = values.cast(pa.string())
            found = stored[name]
            if pa.types.is_dictionary(found.type):
                found = found.cast(pa.string())
            assert found.to_pylist() == values.to_pylist(), name

    def test_tags_are_set_when_devices_are_registered(self, tmp_path: Path) -> None:
        done = run(tmp_path, simulated())
        tags = done.archive.fleet("rooms").tags
        assert tags["device-00011"] == {"site": "site-000", "model": "TH-220"}
        assert len(tags) == 12

    def test_units_and_descriptions_of_the_source_are_kept(self, tmp_path: Path) -> None:
        channel = run(tmp_path, simulated()).archive.fleet("rooms").schema["temperature"]
        assert (channel.dtype, channel.units) == ("float64", "degC")

    def test_devices_have_codes_in_the_source_s_order(self, tmp_path: Path) -> None:
        done = run(tmp_path, simulated(devices=40, devices_per_fragment=7))
        assert done.archive.fleet("rooms").devices == sorted(done.archive.fleet("rooms").devices)

    def test_a_second_source_goes_into_the_same_fleet(self, tmp_path: Path) -> None:
        done = run(tmp_path, simulated(), simulated(prefix="other"))
        assert done.rows().num_rows == 2 * 12 * 50
        assert len(done.archive.fleet("rooms").devices) == 24

    def test_rows_that_do_not_fit_are_quarantined_with_their_fragment(self, tmp_path: Path) -> None:
        done = run(tmp_path, simulated(faults={"corrupt_times": 0.2}))
        report = done.report["steps"][0]
        table = done.archive.fleet("rooms").quarantine()
        assert table.num_rows == report["quarantined"] > 0
        assert report["rows"] + report["quarantined"] == 12 * 50
        for record, origin in zip(
            table["record"].to_pylist(), table["source"].to_pylist(), strict=True
        ):
            start, stop = map(int, origin.rsplit("/", 1)[1].split("-"))
            device = int(record.split("device-")[1][:5])
            assert start <= device < stop

    def test_repeated_rows_follow_the_fleet_s_policy(self, tmp_path: Path) -> None:
        faults = {"duplicates": 0.3}
        dropped = run(tmp_path / "a", simulated(faults=faults)).report["steps"][0]
        kept = run(
            tmp_path / "b", simulated(faults=faults, step={"duplicates": "keep_all"})
        ).report["steps"][0]
        assert dropped["duplicates"] > 0
        assert kept["duplicates"] == 0
        assert kept["rows"] == dropped["rows"] + dropped["duplicates"]

    def test_refused_duplicates_store_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(ArchiveError, match="rows repeat a device and time"):
            run(
                tmp_path,
                simulated(faults={"duplicates": 0.3}, step={"duplicates": "error"}),
            )
        assert failed_report(tmp_path)["error"]["kind"] == "duplicate_rows"
        assert not any("append" in commit.message for commit in _history(tmp_path))

    def test_a_source_without_rows(self, tmp_path: Path) -> None:
        parquet(tmp_path / "rows.parquet", ["a"], rows=0)
        report = run(tmp_path, parquet_step("rooms", tmp_path / "rows.parquet")).report["steps"][0]
        assert (report["rows"], report["points"], report["ratio"]) == (0, 0, None)
        assert report["points_per_s"] == 0


def _history(folder: Path) -> Iterator[Any]:
    from pipeline.api.archive import Archive

    return Archive.open(folder / "archive").history()


class TestTheReport:
    def test_counts_and_sizes(self, tmp_path: Path) -> None:
        done = run(tmp_path, simulated(devices=20, readings=100, channels=["temperature", "rssi"]))
        report = done.report["steps"][0]
        assert report["points"] == 2 * 2000
        assert report["raw_bytes"] == 2000 * (8 + 8 + 1)
        assert (report["devices"], report["window"], report["source"]) == (20, "1 day", "simulated")
        folder = tmp_path / "archive"
        total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert report["block_bytes"] < report["stored_bytes"] <= total
        assert done.report["archive_bytes"] == total
        assert report["ratio"] == pytest.approx(report["raw_bytes"] / report["stored_bytes"])
        assert report["points_per_s"] == pytest.approx(report["points"] / report["seconds"])

    def test_missing_values_are_no_points(self, tmp_path: Path) -> None:
        report = run(tmp_path, simulated(faults={"missing": 0.5})).report["steps"][0]
        assert 0 < report["points"] < report["rows"] == 600
        assert report["raw_bytes"] == 8 * 600 + 8 * report["points"]

    def test_partitions_and_blocks(self, tmp_path: Path) -> None:
        step = {"partitioning": {"window": "hour", "devices_per_block": 6, "landing_rows": 0}}
        report = run(tmp_path, simulated(readings=120, step=step)).report["steps"][0]
        assert report["partitions"] == 2 * 2  # two hours, two device blocks
        assert report["blocks"] >= 4

    def test_where_bytes_are_not_known(self, tmp_path: Path) -> None:
        done = run(tmp_path, simulated(), archive=f"memory://{tmp_path.name}-sizes")
        report = done.report["steps"][0]
        assert (report["stored_bytes"], report["ratio"]) == (None, None)
        assert report["block_bytes"] > 0


class TestTheFleet:
    def test_auto_window(self, tmp_path: Path) -> None:
        step = {"partitioning": {"window": "auto"}}
        assert run(tmp_path, simulated(step=step)).report["steps"][0]["window"] == "1 month"

    def test_devices_of_the_source_are_partitioned_by_a_tag(self, tmp_path: Path) -> None:
        step = {"partitioning": {"window": "day", "devices_per_block": 4, "by": "model"}}
        done = run(tmp_path, simulated(step=step))
        fleet = done.archive.fleet("rooms")
        assert fleet.partitioning.by == "model"
        models = {tags["model"] for tags in fleet.tags.values()}
        assert len(models) > 1
        for model in models:
            told = fleet.explain(where={"model": model})
            mine = {name for name, tags in fleet.tags.items() if tags["model"] == model}
            assert told.devices.touched == len(mine)
            found = fleet.read(where={"model": model}).read_all()
            assert set(found["device"].to_pylist()) == mine
        assert done.report["steps"][0]["devices"] == 12
        with pytest.raises(JobError, match="another partitioning"):
            run(tmp_path, simulated(step={"partitioning": {"window": "day", "by": "site"}}))

    def test_a_declared_schema(self, tmp_path: Path) -> None:
        channels = [{"name": "temperature", "dtype": "float32", "units": "degC"}]
        path = tmp_path / "halves.parquet"
        parquet(path, ["a"], temperature=np.arange(300) / 2, more=np.arange(300))
        step = parquet_step("halves", path, schema=channels, unknown="ignore")
        done = run(tmp_path, step)
        assert done.archive.fleet("halves").schema["temperature"].dtype == "float32"
        assert done.report["steps"][0]["rows"] == 300

    def test_unknown_columns_are_refused_by_default(self, tmp_path: Path) -> None:
        channels = [{"name": "humidity", "dtype": "float64"}]
        with pytest.raises(SchemaError, match="temperature"):
            run(tmp_path, simulated(step={"schema": channels}))

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"partitioning": {"window": "hour"}}, "another partitioning"),
            ({"duplicates": "keep_all"}, "another duplicates"),
            ({"schema": [{"name": "x", "dtype": "int8"}]}, "another schema"),
        ],
    )
    def test_a_fleet_that_is_there_is_not_changed(
        self, tmp_path: Path, changed: dict[str, Any], said: str
    ) -> None:
        run(tmp_path, simulated())
        with pytest.raises(JobError, match=said):
            run(tmp_path, simulated(step=changed))

    def test_an_auto_window_agrees_with_any(self, tmp_path: Path) -> None:
        run(tmp_path, simulated())
        again = run(tmp_path, simulated(step={"partitioning": {"window": "auto"}}))
        assert again.report["steps"][0]["skipped"] == 3


class TestFiles:
    def test_one_fleet_per_file(self, tmp_path: Path) -> None:
        parquet(tmp_path / "data" / "north.parquet", ["a", "b"])
        parquet(tmp_path / "data" / "deep" / "south.v2.parquet", ["c"], rows=100)
        pattern = tmp_path / "data" / "**" / "*.parquet"
        done = run(tmp_path, parquet_step("site-{stem}", pattern, one_fleet_per_file=True))
        assert done.archive.fleets == ["site-north", "site-south"]
        assert [step["rows"] for step in done.report["steps"]] == [100, 600]

    def test_files_of_one_stem_are_refused(self, tmp_path: Path) -> None:
        parquet(tmp_path / "a" / "x.parquet", ["a"])
        parquet(tmp_path / "b" / "x.parquet", ["a"])
        step = parquet_step("{stem}", tmp_path / "*" / "*.parquet", one_fleet_per_file=True)
        with pytest.raises(JobError, match="another file is named 'x' too"):
            run(tmp_path, step)

    def test_the_fleet_needs_a_place_for_the_name(self, tmp_path: Path) -> None:
        parquet(tmp_path / "x.parquet", ["a"])
        step = parquet_step("all", tmp_path / "x.parquet", one_fleet_per_file=True)
        with pytest.raises(JobError, match=r"such as '\{stem\}'"):
            run(tmp_path, step)

    def test_a_simulation_has_no_files(self, tmp_path: Path) -> None:
        step = simulated("{stem}", step={"one_fleet_per_file": True})
        with pytest.raises(JobError, match="needs a source of files; 'simulated' is none"):
            run(tmp_path, step)

    def test_files_that_are_not_there_leave_the_archive_alone(self, tmp_path: Path) -> None:
        run(tmp_path, simulated())
        before = all_rows(run(tmp_path, "report").archive)
        with pytest.raises(NotFoundError, match="no file found"):
            run(tmp_path, parquet_step("x", tmp_path / "*.parquet"), if_exists="replace")
        assert same(run(tmp_path, "report").rows(), before)

    def test_delimited_and_json(self, tmp_path: Path) -> None:
        (tmp_path / "rows.csv").write_text("id;t;v\na;2025-01-01T00:00:00Z;1,5\nb;garbage;2,5\n")
        (tmp_path / "rows.json").write_text('{"id": "a", "t": "2025-01-01T00:00:00Z", "v": 2.5}\n')
        mapping = {"device": "id", "time": "t", "channels": {"v": {"dtype": "float64"}}}
        csv = {"path": str(tmp_path / "rows.csv"), "mapping": mapping, "separator": ";"}
        done = run(
            tmp_path,
            {"import": {"fleet": "c", "source": {"delimited": {**csv, "decimal": ","}}}},
            {
                "import": {
                    "fleet": "j",
                    "source": {"json": {"path": str(tmp_path / "rows.json"), "mapping": mapping}},
                }
            },
        )
        assert [step["rows"] for step in done.report["steps"]] == [1, 1]
        assert done.report["steps"][0]["quarantined"] == 1
        assert done.report["steps"][0]["ignored"] == 1
        assert done.rows("c")["v"].to_pylist() == [1.5]
        assert done.rows("j")["v"].to_pylist() == [2.5]

    def test_tsbs(self, tmp_path: Path) -> None:
        source = {"tsbs_iot": {"trucks": 3, "days": 0.01, "measurement": "diagnostics"}}
        done = run(tmp_path, {"import": {"fleet": "trucks", "source": source}})
        report = done.report["steps"][0]
        assert report["rows"] + report["quarantined"] + report["duplicates"] > 200
        assert set(done.archive.fleet("trucks").schema.names) >= {"fuel_state", "current_load"}

    def test_tsbs_hosts(self, tmp_path: Path) -> None:
        source = {"tsbs_cpu": {"hosts": 3, "days": 0.01}}
        done = run(tmp_path, {"import": {"fleet": "hosts", "source": source}})
        assert done.report["steps"][0]["rows"] == 3 * 86
        fleet = done.archive.fleet("hosts")
        assert len(fleet.schema.names) == 10
        assert fleet.tags["host_2"]["hostname"] == "host_2"


class TestParts:
    """Fragments larger than a part are read by one task after another."""

    @pytest.fixture
    def small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes = ImportSizes(part_rows=4, reading=2, group_rows=30)
        monkeypatch.setattr(import_step, "choose_sizes", lambda *_: sizes)

    @pytest.fixture
    def small_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Deliver the rows of a fragment three at a time."""
        whole = SimulatedFragment.read

        def read(self: SimulatedFragment) -> Iterator[Intake]:
            for piece in whole(self):
                for start in range(0, piece.table.num_rows, 3):
                    yield replace(piece, table=piece.table.slice(start, 3))

        monkeypatch.setattr(SimulatedFragment, "read", read)

    @pytest.mark.usefixtures("small_parts", "small_pieces")
    def test_all_rows_are_stored_once(self, tmp_path: Path) -> None:
        done = run(tmp_path, simulated(devices=4, readings=25, devices_per_fragment=2))
        report = done.report["steps"][0]
        assert same(done.rows(), source_rows(devices=4, readings=25, devices_per_fragment=2))
        assert (report["fragments"], report["rows"]) == (2, 100)
        assert report["commits"] > 3

    @pytest.mark.usefixtures("small_parts", "small_pieces")
    def test_a_fragment_that_failed_in_its_middle_is_finished_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sound = SimulatedFragment.read

        def failing(self: SimulatedFragment) -> Iterator[Intake]:
            for at, piece in enumerate(sound(self)):
                if self.start == 2 and at == 11:
                    raise RuntimeError("cable pulled")
                yield piece

        step = simulated(devices=4, readings=25, devices_per_fragment=2)
        with monkeypatch.context() as patched:
            patched.setattr(SimulatedFragment, "read", failing)
            with pytest.raises(JobError, match=r"fragment .*2-4.*: reading failed .* cable pulled"):
                run(tmp_path, step)
        halfway = run(tmp_path, "report").rows().num_rows
        assert 50 < halfway < 100
        done = run(tmp_path, step)
        assert done.report["steps"][0]["skipped"] == 1
        assert done.report["steps"][0]["rows"] == 100 - halfway
        assert same(done.rows(), source_rows(devices=4, readings=25, devices_per_fragment=2))

    def test_fragments_per_commit(self, tmp_path: Path) -> None:
        done = run(tmp_path, simulated(step={"fragments_per_commit": 1}))
        assert done.report["steps"][0]["commits"] == 3

    def test_running_again_adds_nothing(self, tmp_path: Path) -> None:
        step = simulated(step={"duplicates": "keep_all"})
        first = run(tmp_path, step)
        again = run(tmp_path, step)
        report = again.report["steps"][0]
        assert (report["rows"], report["commits"], report["skipped"]) == (0, 0, 3)
        assert same(again.rows(), first.rows())

    def test_another_seed_is_another_source(self, tmp_path: Path) -> None:
        run(tmp_path, simulated())
        report = run(tmp_path, simulated(seed=1)).report["steps"][0]
        assert (report["rows"], report["skipped"]) == (600, 0)

    def test_files_are_known_by_their_names_however_they_are_asked_for(
        self, tmp_path: Path
    ) -> None:
        parquet(tmp_path / "data" / "one.parquet", ["a"])
        run(tmp_path, parquet_step("x", tmp_path / "data" / "one.parquet"))
        parquet(tmp_path / "data" / "two.parquet", ["b"])
        report = run(tmp_path, parquet_step("x", tmp_path / "data" / "*.parquet")).report["steps"]
        assert (report[0]["rows"], report[0]["skipped"]) == (300, 1)


class TestFilesThatChange:
    def grown(self, tmp_path: Path, **step: Any) -> dict[str, Any]:
        """Import a file, add rows to it, and return the step that imports it again."""
        again = parquet_step("x", tmp_path / "x.parquet", **step)
        parquet(tmp_path / "x.parquet", ["a"], rows=100)
        run(tmp_path, again)
        parquet(tmp_path / "x.parquet", ["a"], rows=150)
        return again

    def test_new_rows_of_a_file_that_has_grown_are_stored(self, tmp_path: Path) -> None:
        done = run(tmp_path, self.grown(tmp_path))
        assert done.report["steps"][0]["skipped"] == 0
        assert done.rows("x").num_rows == 150

    def test_it_is_refused_where_repeated_rows_are_kept(self, tmp_path: Path) -> None:
        step = self.grown(tmp_path, duplicates="keep_all")
        with pytest.raises(JobError, match="the file has changed since it was imported"):
            run(tmp_path, step)
        assert run(tmp_path, "report").rows("x").num_rows == 100


def test_time_stamps_and_values_are_kept_to_the_last_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=300)
    values[::50] = np.nan
    table = parquet(tmp_path / "x.parquet", ["a"], value=values)
    stored = run(tmp_path, parquet_step("x", tmp_path / "x.parquet")).rows("x")
    assert stored["time"].to_pylist() == table["time"].to_pylist()
    assert np.array_equal(
        stored["value"].to_numpy().view(np.int64), table["value"].to_numpy().view(np.int64)
    )
    assert pc.sum(pc.is_null(stored["value"])).as_py() == 0
