"""A deployed fleet gets a humidity channel, then other units, then a wider counter."""

from __future__ import annotations

import numpy as np
import pytest

import pipeline
from pipeline.errors import SchemaError
from pipeline.schema.aliases import RenamedChannelWarning
from pipeline.schema.changes import AddChannel, ChangeDtype, ChangeUnits, RenameChannel
from tests.support import memory_archive, minutes, rows_of

FAHRENHEIT = np.array([32.0, 50.0, 212.0])


def test_a_deployed_fleet_changes_three_times() -> None:
    archive = memory_archive()
    rooms = archive.create_fleet(
        "rooms",
        pipeline.Schema(
            [
                pipeline.Channel("temperature", "float64", units="degF"),
                pipeline.Channel("count", "int16"),
            ]
        ),
    )
    rooms.append(
        {
            "device": "kitchen",
            "time": minutes(0, 1, 2),
            "temperature": FAHRENHEIT,
            "count": np.array([32_765, 32_766, 32_767], np.int16),
        }
    )

    # A new channel: older rows have no value of it.
    humidity = pipeline.Channel("humidity", "float32", units="percent")
    rooms.evolve(AddChannel(humidity), comment="new boards", author="ann")
    rooms.append(
        {
            "device": "kitchen",
            "time": minutes(3),
            "temperature": [41.0],
            "count": [5],
            "humidity": [40.5],
        }
    )

    # Other units: older rows are converted when they are read, and only then.
    celsius = ChangeUnits("temperature", "degC", multiply=5, add=-160, divide=9)
    rooms.evolve(celsius, comment="firmware 2")
    rooms.append({"device": "kitchen", "time": minutes(4), "temperature": [20.0], "count": [6]})

    # The counter was too small, and gets a better name.
    rooms.evolve(ChangeDtype("count", "int64"), RenameChannel("count", "visitors"))
    rooms.append({"device": "kitchen", "time": minutes(5), "visitors": [5_000_000_000]})

    assert [version.number for version in rooms.schemas] == [1, 2, 3, 4]
    assert rooms.schema.names == ("temperature", "visitors", "humidity")
    assert rooms.schemas[1].comment == "new boards"
    assert rooms.schema_at("2000-01-01").number == 1
    assert rooms.schema_at("2100-01-01").number == 4

    rows = rows_of(rooms.read())
    np.testing.assert_allclose(rows["temperature"], [0, 10, 100, 5, 20, np.nan], rtol=1e-15)
    assert rows["visitors"].tolist() == [32_765, 32_766, 32_767, 5, 6, 5_000_000_000]
    np.testing.assert_equal(rows["humidity"].tolist()[3:5], [40.5, np.nan])
    assert rooms.read().schema.field("temperature").metadata == {b"units": b"degC"}

    # Statistics of all rows, in the units and names of now.
    answer = rooms.aggregate(
        {"temperature": ["min", "max", "mean", "count"], "visitors": ["max", "last"]}
    )
    assert float(answer["temperature_max"][0]) == 100
    assert float(answer["temperature_min"][0]) == 0
    assert float(answer["temperature_mean"][0]) == pytest.approx(135 / 5)
    assert int(answer["visitors_max"][0]) == 5_000_000_000
    assert answer.attrs["schema_version"] == 4
    assert answer.attrs["schema_versions"] == [1, 2, 3, 4]
    newest = rooms.latest()
    assert float(newest["temperature"][0]) == 20
    assert int(newest["visitors"][0]) == 5_000_000_000
    assert rows_of(rooms.read(where={"temperature": "> 50"}))["temperature"].tolist() == [100]

    # The old name works, with a warning; the first version shows what its readers expect.
    with pytest.warns(RenamedChannelWarning, match="is called 'visitors' now"):
        assert rooms.read(channels="count").read_all().column_names[2] == "visitors"
    first = rooms.at_version(1)
    before = rows_of(first.read(time=(None, "2024-01-01T00:05")))
    assert before["count"].tolist() == [32_765, 32_766, 32_767, 5, 6]
    np.testing.assert_allclose(before["temperature"], [*FAHRENHEIT, 41, 68])
    with pytest.raises(SchemaError, match=r"5000000000; read them as fleet\.at_version"):
        first.read().read_all()

    # An old device still sends what version 1 was.
    old = {"device": "attic", "time": minutes(6), "temperature": [122.0], "count": [7]}
    rooms.append(old, schema_version=1)
    attic = rows_of(rooms.read("attic"))
    assert (attic["temperature"][0], attic["visitors"][0]) == (50.0, 7)
    assert archive.verify().is_clean
